#include "tests/worker/engine/tiny_t5.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/formats/adapter_config.h"
#include "common/formats/prompt_config.h"
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

void WriteText(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  ASSERT_TRUE(out) << file;
}

// Every sub-layer by its name, in both stacks.
void ForSubLayers(const TinyT5& base,
                  const std::function<void(const std::string& layer, const std::string& kind)>& visit) {
  for (const std::string stack : {"encoder", "decoder"}) {
    const bool crosses = stack == "decoder";
    for (int64_t i = 0; i < base.layers; ++i) {
      const std::string block = absl::StrCat(stack, ".block.", i, ".layer.");
      visit(block + "0", "SelfAttention");
      if (crosses) visit(block + "1", "EncDecAttention");
      visit(absl::StrCat(block, crosses ? 2 : 1), "DenseReluDense");
    }
  }
}

}  // namespace

void WriteTinyT5Lora(const std::filesystem::path& folder, const TinyT5& base, const TinyT5Adapter& adapter) {
  std::filesystem::create_directories(folder);
  formats::LoraConfig lora;
  lora.r = adapter.r;
  lora.alpha = 2.0 * static_cast<double>(adapter.r);
  lora.target_modules = adapter.target_modules;
  lora.task_type = "SEQ_2_SEQ_LM";
  TensorFile file(adapter.seed);
  ForSubLayers(base, [&](const std::string& layer, const std::string& kind) {
    if (kind == "DenseReluDense") return;
    for (const char* part : {"q", "k", "v", "o"}) {
      const std::string name = absl::StrCat(layer, ".", kind, ".", part);
      if (!formats::MatchLora(lora, name).has_value()) continue;
      const int64_t heads = base.heads * base.d_kv, in = *part == 'o' ? heads : base.d_model;
      file.Add("base_model.model." + name + ".lora_A.weight", {adapter.r, in}, 0, adapter.spread);
      file.Add("base_model.model." + name + ".lora_B.weight", {*part == 'o' ? base.d_model : heads, adapter.r}, 0,
               adapter.spread);
    }
  });
  file.Write(folder / "adapter_model.safetensors");
  WriteText(folder / "adapter_config.json", formats::WriteLoraConfig(lora));
}

void WriteTinyT5Prompt(const std::filesystem::path& folder, const TinyT5& base, const TinyT5Adapter& adapter) {
  std::filesystem::create_directories(folder);
  formats::PromptConfig prompt;
  prompt.num_virtual_tokens = adapter.r;
  prompt.num_transformer_submodules = adapter.submodules;
  prompt.task_type = "SEQ_2_SEQ_LM";
  prompt.token_dim = base.d_model;
  prompt.num_layers = base.layers;
  prompt.num_attention_heads = base.heads;
  TensorFile file(adapter.seed);
  file.Add("prompt_embeddings", {adapter.r * adapter.submodules, base.d_model}, 0, adapter.spread);
  file.Write(folder / "adapter_model.safetensors");
  WriteText(folder / "adapter_config.json", formats::WritePromptConfig(prompt));
}

void WriteTinyT5Bottleneck(const std::filesystem::path& folder, const TinyT5& base, const TinyT5Adapter& adapter) {
  std::filesystem::create_directories(folder);
  formats::BottleneckConfig config = formats::LayoutConfig(adapter.layout);
  config.model_type = "t5";
  config.model_class = "T5ForConditionalGeneration";
  config.after_cross_attention = adapter.after_cross_attention;
  config.reduction_factor = static_cast<double>(adapter.r);
  config.hidden_size = base.d_model;
  config.name = "tiny";
  const int64_t width = formats::BottleneckWidth(config, base.d_model);
  TensorFile file(adapter.seed);
  ForSubLayers(base, [&](const std::string& layer, const std::string& kind) {
    const bool has = kind == "SelfAttention"     ? config.after_attention
                     : kind == "EncDecAttention" ? config.after_cross_attention
                                                 : config.after_feed_forward;
    if (!has) return;
    file.AddLinear(layer + ".adapters.tiny.adapter_down.0", base.d_model, width, adapter.spread);
    file.AddLinear(layer + ".adapters.tiny.adapter_up", width, base.d_model, adapter.spread);
  });
  file.Write(folder / "adapter.safetensors");
  WriteText(folder / "adapter_config.json", formats::WriteBottleneckConfig(config));
  if (adapter.output_layer_of.empty()) return;
  const auto weights = formats::Safetensors::Open(adapter.output_layer_of / "model.safetensors", {});
  ASSERT_TRUE(weights.ok()) << weights.status();
  const formats::TensorView* layer = (*weights)->Find(base.flan ? "lm_head.weight" : "shared.weight");
  ASSERT_NE(layer, nullptr);
  const absl::Status written =
      formats::WriteSafetensors(folder / "model_head.safetensors", {{"lm_head.weight", *layer}}, {{"format", "pt"}});
  ASSERT_TRUE(written.ok()) << written;
  WriteText(folder / "head_config.json", formats::WriteHeadConfig(config, {"LABEL_0", "LABEL_1"}));
}

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
