#include "tests/worker/engine/tiny_bart.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/formats/adapter_config.h"
#include "common/formats/bart_config.h"
#include "common/formats/prompt_config.h"
#include "tests/worker/engine/tensor_file.h"

namespace tenon::testing {
namespace {

using nlohmann::json;

void WriteText(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  ASSERT_TRUE(out) << file;
}

struct Linear {
  std::string name;  // without the prefix
  int64_t in = 0, out = 0;
};

// Every linear layer of both stacks, and every norm.
std::vector<Linear> Linears(const TinyBart& base) {
  const int64_t hidden = base.d_model, wide = base.ffn_dim;
  std::vector<Linear> linears;
  for (int64_t i = 0; i < base.layers; ++i) {
    const formats::LayerNames encoder = formats::BartEncoderFamily().Layer(i);
    const formats::BartDecoderNames decoder = formats::BartDecoderLayer(i);
    for (const std::string& name : {encoder.query, encoder.key, encoder.value, encoder.attention_output, decoder.query,
                                    decoder.key, decoder.value, decoder.attention_output, decoder.source_query,
                                    decoder.source_key, decoder.source_value, decoder.source_output}) {
      linears.push_back({name, hidden, hidden});
    }
    for (const std::string& name : {encoder.intermediate, decoder.intermediate})
      linears.push_back({name, hidden, wide});
    for (const std::string& name : {encoder.output, decoder.output}) linears.push_back({name, wide, hidden});
  }
  return linears;
}

std::vector<std::string> Norms(const TinyBart& base) {
  std::vector<std::string> norms = {formats::BartEncoderFamily().embeddings.norm, formats::kBartDecoderNorm};
  for (int64_t i = 0; i < base.layers; ++i) {
    const formats::LayerNames encoder = formats::BartEncoderFamily().Layer(i);
    const formats::BartDecoderNames decoder = formats::BartDecoderLayer(i);
    for (const std::string& name : {encoder.attention_norm, encoder.output_norm, decoder.attention_norm,
                                    decoder.source_norm, decoder.output_norm}) {
      norms.push_back(name);
    }
  }
  return norms;
}

void WriteWeights(const std::filesystem::path& file, const TinyBart& base) {
  TensorFile tensors(base.seed);
  const auto add = [&](std::string name, std::vector<int64_t> shape, double mean, double spread) {
    if (base.change) name = base.change(name, shape);
    if (!name.empty()) tensors.Add(name, shape, mean, spread);
  };
  const std::string& prefix = base.prefix;
  add(absl::StrCat(prefix, formats::kBartEmbeddings[0], ".weight"), {base.vocab, base.d_model}, 0, 0.5);
  for (const std::string& table :
       {formats::BartEncoderFamily().embeddings.positions, std::string(formats::kBartDecoderPositions)}) {
    add(absl::StrCat(prefix, table, ".weight"), {base.positions + formats::kBartPositionOffset, base.d_model}, 0, 0.5);
  }
  for (const Linear& linear : Linears(base)) {
    const double spread = 1.2 / std::sqrt(static_cast<double>(linear.in));
    add(absl::StrCat(prefix, linear.name, ".weight"), {linear.out, linear.in}, 0, spread);
    add(absl::StrCat(prefix, linear.name, ".bias"), {linear.out}, 0, 0.2);
  }
  for (const std::string& norm : Norms(base)) {
    add(absl::StrCat(prefix, norm, ".weight"), {base.d_model}, 1, 0.1);
    add(absl::StrCat(prefix, norm, ".bias"), {base.d_model}, 0, 0.1);
  }
  if (!prefix.empty()) add(formats::kBartOutputBias, {1, base.vocab}, 0, 0.5);
  tensors.Write(file);
}

void WriteTokenizer(const std::filesystem::path& folder) {
  json vocabulary = {{"<s>", 0}, {"<pad>", 1}, {"</s>", 2}, {"<unk>", 3}};
  for (char letter = 'a'; letter <= 'z'; ++letter) vocabulary[std::string(1, letter)] = 4 + letter - 'a';
  vocabulary["<mask>"] = 30;
  WriteText(folder / "vocab.json", vocabulary.dump());
  WriteText(folder / "merges.txt", "#version: 0.2\n");
  WriteText(folder / "tokenizer_config.json", json{{"tokenizer_class", "BartTokenizer"}}.dump());
}

}  // namespace

void WriteTinyBart(const std::filesystem::path& folder, const TinyBart& base) {
  std::filesystem::create_directories(folder);
  WriteWeights(folder / "model.safetensors", base);
  const json config = {{"architectures", {base.prefix.empty() ? "BartModel" : "BartForConditionalGeneration"}},
                       {"model_type", "bart"},
                       {"vocab_size", base.vocab},
                       {"d_model", base.d_model},
                       {"encoder_layers", base.layers},
                       {"decoder_layers", base.layers},
                       {"encoder_attention_heads", base.heads},
                       {"decoder_attention_heads", base.heads},
                       {"encoder_ffn_dim", base.ffn_dim},
                       {"decoder_ffn_dim", base.ffn_dim},
                       {"max_position_embeddings", base.positions},
                       {"decoder_start_token_id", 2},
                       {"forced_eos_token_id", 2},
                       {"eos_token_id", 2},
                       {"pad_token_id", 1}};
  WriteText(folder / "config.json", config.dump(2));
  WriteTokenizer(folder);
}

void WriteTinyBartLora(const std::filesystem::path& folder, const TinyBart& base, const TinyBartAdapter& adapter) {
  std::filesystem::create_directories(folder);
  formats::LoraConfig lora;
  lora.r = adapter.r;
  lora.alpha = 2.0 * static_cast<double>(adapter.r);
  lora.target_modules = adapter.target_modules;
  lora.task_type = "SEQ_2_SEQ_LM";
  TensorFile file(adapter.seed);
  for (const Linear& linear : Linears(base)) {
    const std::string name = formats::kBartTaskPrefix + linear.name;
    if (!formats::MatchLora(lora, name).has_value()) continue;
    file.Add("base_model.model." + name + ".lora_A.weight", {adapter.r, linear.in}, 0, adapter.spread);
    file.Add("base_model.model." + name + ".lora_B.weight", {linear.out, adapter.r}, 0, adapter.spread);
  }
  file.Write(folder / "adapter_model.safetensors");
  WriteText(folder / "adapter_config.json", formats::WriteLoraConfig(lora));
}

void WriteTinyBartPrompt(const std::filesystem::path& folder, const TinyBart& base, const TinyBartAdapter& adapter) {
  std::filesystem::create_directories(folder);
  formats::PromptConfig prompt;
  prompt.num_virtual_tokens = adapter.r;
  prompt.num_transformer_submodules = 2;
  prompt.task_type = "SEQ_2_SEQ_LM";
  prompt.token_dim = base.d_model;
  prompt.num_layers = base.layers;
  prompt.num_attention_heads = base.heads;
  TensorFile file(adapter.seed);
  file.Add("prompt_embeddings", {2 * adapter.r, base.d_model}, 0, adapter.spread);
  file.Write(folder / "adapter_model.safetensors");
  WriteText(folder / "adapter_config.json", formats::WritePromptConfig(prompt));
}

}  // namespace tenon::testing
