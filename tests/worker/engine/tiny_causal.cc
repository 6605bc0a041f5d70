#include "tests/worker/engine/tiny_causal.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/formats/adapter_config.h"
#include "common/formats/causal_config.h"
#include "common/formats/prompt_config.h"
#include "tests/worker/engine/tensor_file.h"

namespace tenon::testing {
namespace {

using nlohmann::json;

const formats::CausalFamily& FamilyOf(const TinyCausal& base) {
  return *formats::FindCausalFamily(base.opt ? "opt" : "gpt2");
}

void WriteText(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  ASSERT_TRUE(out.good()) << file;
}

json ConfigOf(const TinyCausal& base) {
  json config = {{"architectures", {FamilyOf(base).model_class}}, {"vocab_size", base.vocab}, {"eos_token_id", 1}};
  if (base.opt) {
    config.update({{"model_type", "opt"},
                   {"hidden_size", base.hidden},
                   {"num_attention_heads", base.heads},
                   {"num_hidden_layers", base.layers},
                   {"ffn_dim", base.wide},
                   {"max_position_embeddings", base.positions},
                   {"do_layer_norm_before", base.norm_first},
                   {"word_embed_proj_dim", base.word_size}});
  } else {
    config.update({{"model_type", "gpt2"},
                   {"n_embd", base.hidden},
                   {"n_head", base.heads},
                   {"n_layer", base.layers},
                   {"n_inner", base.wide},
                   {"n_positions", base.positions}});
  }
  return config;
}

class Writer {
 public:
  explicit Writer(const TinyCausal& base) : base_(base), family_(FamilyOf(base)), file_(base.seed) {}

  void Write(const std::filesystem::path& file) {
    const int64_t hidden = base_.hidden, words = base_.opt ? base_.word_size : hidden;
    Add(family_.words + ".weight", {base_.vocab, words}, 0, 0.5);
    Add(family_.positions + ".weight", {base_.positions + (base_.opt ? 2 : 0), hidden}, 0, 0.5);
    if (words != hidden) {
      Add(family_.project_in + ".weight", {hidden, words}, 0, 0.3);
      Add(family_.project_out + ".weight", {words, hidden}, 0, 0.3);
    }
    for (int64_t i = 0; i < base_.layers; ++i) {
      const formats::CausalLayerNames layer = family_.Layer(i);
      for (const std::string& name : layer.qkv) {
        Linear(name, hidden, 3 * hidden / static_cast<int64_t>(layer.qkv.size()));
      }
      Linear(layer.attention_output, hidden, hidden);
      Linear(layer.intermediate, hidden, base_.wide);
      Linear(layer.output, base_.wide, hidden);
      for (const std::string& name : {layer.attention_norm, layer.output_norm}) Norm(name);
    }
    if (!base_.opt || base_.norm_first) Norm(family_.final_norm);
    file_.Write(file);
  }

 private:
  void Add(const std::string& name, std::vector<int64_t> shape, double mean, double spread) {
    const std::string full = family_.task_prefix + name;
    const std::string given = base_.change ? base_.change(full, shape) : full;
    if (!given.empty()) file_.Add(given, shape, mean, spread);
  }
  void Linear(const std::string& name, int64_t in, int64_t out) {
    Add(name + ".weight", family_.turned ? std::vector<int64_t>{in, out} : std::vector<int64_t>{out, in}, 0, 0.25);
    Add(name + ".bias", {out}, 0, 0.1);
  }
  void Norm(const std::string& name) {
    Add(name + ".weight", {base_.hidden}, 1, 0.1);
    Add(name + ".bias", {base_.hidden}, 0, 0.1);
  }

  const TinyCausal& base_;
  const formats::CausalFamily& family_;
  TensorFile file_;
};

}  // namespace

void WriteTinyCausal(const std::filesystem::path& folder, const TinyCausal& base) {
  std::filesystem::create_directories(folder);
  Writer(base).Write(folder / "model.safetensors");
  WriteText(folder / "config.json", ConfigOf(base).dump());
  json pieces = {{"<pad>", 0}, {"</s>", 1}};
  for (char c = 'a'; c <= 'z'; ++c) pieces[std::string(1, c)] = c - 'a' + 2;
  WriteText(folder / "vocab.json", pieces.dump());
  WriteText(folder / "merges.txt", "#version: 0.2\n");
  WriteText(folder / "tokenizer_config.json",
            json({{"tokenizer_class", "GPT2Tokenizer"}, {"unk_token", "</s>"}, {"eos_token", "</s>"}}).dump());
}

void WriteTinyCausalLora(const std::filesystem::path& folder, const TinyCausal& base,
                         const TinyCausalAdapter& adapter) {
  std::filesystem::create_directories(folder);
  const formats::CausalFamily& family = FamilyOf(base);
  formats::LoraConfig lora;
  lora.task_type = "CAUSAL_LM";
  lora.r = adapter.r;
  lora.alpha = static_cast<double>(2 * adapter.r);
  lora.fan_in_fan_out = family.turned;
  TensorFile file(adapter.seed);
  for (int64_t i = 0; i < base.layers; ++i) {
    const formats::CausalLayerNames layer = family.Layer(i);
    const auto add = [&](const std::string& name, int64_t out) {
      const std::string key = "base_model.model." + family.task_prefix + name;
      file.Add(key + ".lora_A.weight", {adapter.r, base.hidden}, 0, adapter.spread);
      file.Add(key + ".lora_B.weight", {out, adapter.r}, 0, adapter.spread);
      if (i == 0) lora.target_modules.push_back(name.substr(name.rfind('.') + 1));
    };
    for (const std::string& name : layer.qkv) add(name, 3 * base.hidden / static_cast<int64_t>(layer.qkv.size()));
    if (adapter.wide) add(layer.intermediate, base.wide);
  }
  file.Write(folder / "adapter_model.safetensors");
  WriteText(folder / "adapter_config.json", formats::WriteLoraConfig(lora));
}

void WriteTinyCausalPrompt(const std::filesystem::path& folder, const TinyCausal& base,
                           const TinyCausalAdapter& adapter) {
  std::filesystem::create_directories(folder);
  const int64_t words = base.opt ? base.word_size : base.hidden;
  formats::PromptConfig prompt;
  prompt.num_virtual_tokens = adapter.r;
  prompt.task_type = "CAUSAL_LM";
  prompt.token_dim = words;
  prompt.num_layers = base.layers;
  prompt.num_attention_heads = base.heads;
  TensorFile file(adapter.seed);
  file.Add("prompt_embeddings", {adapter.r, words}, 0, adapter.spread);
  file.Write(folder / "adapter_model.safetensors");
  WriteText(folder / "adapter_config.json", formats::WritePromptConfig(prompt));
}

}  // namespace tenon::testing
