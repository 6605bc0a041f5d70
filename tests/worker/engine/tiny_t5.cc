#include "tests/worker/engine/tiny_t5.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "tests/worker/engine/tensor_file.h"

namespace tenon::testing {
namespace {

using nlohmann::json;

void WriteJson(const std::filesystem::path& file, const json& value) {
  std::ofstream out(file, std::ios::binary);
  out << value.dump(2);
  out.close();
  ASSERT_TRUE(out) << file;
}

class Writer {
 public:
  explicit Writer(const TinyT5& base) : base_(base), file_(base.seed) {}

  void Add(std::string name, std::vector<int64_t> shape, double mean, double spread) {
    if (base_.change) name = base_.change(name, shape);
    if (!name.empty()) file_.Add(name, shape, mean, spread);
  }
  void Linear(const std::string& name, int64_t in, int64_t out) {
    Add(name + ".weight", {out, in}, 0, 1 / std::sqrt(static_cast<double>(in)));
  }
  void Norm(const std::string& name) { Add(name + ".weight", {base_.d_model}, 1, 0.1); }
  void Attention(const std::string& name) {
    const int64_t width = base_.heads * base_.d_kv;
    for (const char* part : {".q", ".k", ".v"}) Linear(name + part, base_.d_model, width);
    Linear(name + ".o", width, base_.d_model);
  }
  void Stack(const std::string& stack, bool cross) {
    for (int64_t i = 0; i < base_.layers; ++i) {
      const std::string block = absl::StrCat(stack, ".block.", i, ".layer.");
      Attention(block + "0.SelfAttention");
      Norm(block + "0.layer_norm");
      if (cross) {
        Attention(block + "1.EncDecAttention");
        Norm(block + "1.layer_norm");
      }
      const std::string last = absl::StrCat(block, cross ? 2 : 1);
      for (const char* part : {"wi", "wi_0", "wi_1"}) {
        if ((std::string(part) != "wi") == base_.flan) {
          Linear(absl::StrCat(last, ".DenseReluDense.", part), base_.d_model, base_.d_ff);
        }
      }
      Linear(last + ".DenseReluDense.wo", base_.d_ff, base_.d_model);
      Norm(last + ".layer_norm");
    }
    Add(stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight", {32, base_.heads}, 0, 1);
    Norm(stack + ".final_layer_norm");
  }
  void Write(const std::filesystem::path& file) {
    Add("shared.weight", {base_.vocab, base_.d_model}, 0, 1);
    if (base_.flan) Add("lm_head.weight", {base_.vocab, base_.d_model}, 0, 1);
    Stack("encoder", /*cross=*/false);
    Stack("decoder", /*cross=*/true);
    file_.Write(file);
  }

 private:
  const TinyT5& base_;
  TensorFile file_;
};

json TokenizerJson() {
  json pieces = json::array();  // braces alone would make an object of pairs
  for (const auto& [piece, score] :
       std::vector<std::pair<std::string, double>>{{"<pad>", 0}, {"</s>", 0}, {"<unk>", 0}, {"\u2581", -2}}) {
    pieces.push_back(json::array({piece, score}));
  }
  for (char letter = 'a'; letter <= 'z'; ++letter)
    pieces.push_back({std::string(1, letter), -3.0 - (letter - 'a') / 10.0});
  json added = json::array();
  for (int id = 0; id < 3; ++id) {
    added.push_back({{"id", id},
                     {"content", pieces[id][0]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "always"}, {"split", true}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single",
         {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}}}},
        {"pair", {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "B"}, {"type_id", 0}}}}}},
        {"special_tokens", {{"</s>", {{"id", "</s>"}, {"ids", {1}}, {"tokens", {"</s>"}}}}}}}},
      {"decoder", {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "always"}, {"split", true}}},
      {"model", {{"type", "Unigram"}, {"unk_id", 2}, {"vocab", pieces}, {"byte_fallback", false}}}};
}

}  // namespace

void WriteTinyT5(const std::filesystem::path& folder, const TinyT5& base) {
  std::filesystem::create_directories(folder);
  Writer(base).Write(folder / "model.safetensors");
  WriteJson(folder / "config.json", {{"architectures", {"T5ForConditionalGeneration"}},
                                     {"model_type", "t5"},
                                     {"vocab_size", base.vocab},
                                     {"d_model", base.d_model},
                                     {"d_kv", base.d_kv},
                                     {"d_ff", base.d_ff},
                                     {"num_layers", base.layers},
                                     {"num_heads", base.heads},
                                     {"feed_forward_proj", base.flan ? "gated-gelu" : "relu"},
                                     {"tie_word_embeddings", !base.flan},
                                     {"decoder_start_token_id", 0},
                                     {"eos_token_id", 1},
                                     {"pad_token_id", 0}});
  WriteJson(folder / "tokenizer.json", TokenizerJson());
  WriteJson(folder / "tokenizer_config.json", {{"tokenizer_class", "T5TokenizerFast"}, {"extra_ids", 0}});
}

}  // namespace tenon::testing
