#include "tests/worker/engine/tiny_base.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/formats/families/families.h"
#include "common/formats/prompt_config.h"
#include "nlohmann/json.hpp"
#include "tests/worker/engine/tensor_file.h"

namespace tenon::testing {
namespace {

constexpr char kWords[] =
    "the a my your is was not and for with about please today still after before order invoice refund charge payment "
    "card price "
    "receipt tax discount fee parcel courier late address shipping box tracking door truck route password login email "
    "name profile "
    "locked reset code device session good great bad awful fine happy sad broken works slow fast cheap dear cold warm "
    "red green blue "
    "book film song game team coach goal match market stock bank profit planet star rocket engine virus cell court law "
    "vote city river "
    "mountain road train bread cheese apple tea coffee";

const std::vector<std::string> kSpecial = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

void WriteText(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  ASSERT_TRUE(out) << file;
}

std::vector<std::string> Vocabulary() {
  std::vector<std::string> vocabulary = kSpecial;
  vocabulary.insert(vocabulary.end(), TinyWords().begin(), TinyWords().end());
  return vocabulary;
}

const formats::EncoderFamily& FamilyOf(const TinyBase& base) {
  const formats::EncoderFamily* family = formats::FindFamily(base.family);
  if (family == nullptr) ADD_FAILURE() << base.family;
  return family == nullptr ? formats::EncoderFamilies().front() : *family;
}

nlohmann::json BaseConfig(const TinyBase& base) {
  const formats::EncoderFamily& family = FamilyOf(base);
  const formats::EncoderKeys& keys = family.keys;
  nlohmann::json config = {{"architectures", {base.labels.empty() ? family.plain_class : family.head.model_class}},
                           {"model_type", family.model_type},
                           {"vocab_size", Vocabulary().size()},
                           {keys.hidden_size, base.hidden},
                           {keys.layers, base.layers},
                           {keys.heads, base.heads},
                           {keys.intermediate_size, base.intermediate},
                           {"max_position_embeddings", base.max_positions},
                           {keys.activation, "gelu"},
                           {keys.hidden_dropout, base.dropout},
                           {keys.attention_dropout, base.dropout},
                           {"initializer_range", 0.02},
                           {"pad_token_id", 0},
                           {"position_embedding_type", "absolute"}};
  if (!keys.type_vocab_size.empty()) config[keys.type_vocab_size] = 2;
  if (!keys.layer_norm_eps.empty()) config[keys.layer_norm_eps] = 1e-12;
  for (size_t i = 0; i < base.labels.size(); ++i) {
    config["id2label"][absl::StrCat(i)] = base.labels[i];
    config["label2id"][base.labels[i]] = i;
  }
  return config;
}

formats::TenonConfig AdapterTenonConfig(const TinyAdapter& adapter, const std::string& method) {
  formats::TenonConfig config;
  config.task = "sequence_classification";
  config.method = method;
  config.labels = adapter.labels;
  config.multi_label = adapter.multi_label;
  config.base_digest = adapter.base_digest;
  return config;
}

void AddClassifier(TensorFile& file, const std::string& name, const TinyBase& base, const TinyAdapter& adapter) {
  const int64_t labels = static_cast<int64_t>(adapter.labels.size());
  file.Add(name + ".weight", {labels, base.hidden}, 0, adapter.spread);
  std::vector<float>& bias = file.Add(name + ".bias", {labels}, 0, adapter.spread);
  bias[static_cast<size_t>(adapter.favourite)] += static_cast<float>(adapter.favour);
}

// The head that an adapter has in its family's files.
void AddHead(TensorFile& file, const std::string& root, const TinyBase& base, const TinyAdapter& adapter) {
  for (const formats::HeadModule& module : formats::HeadModules(FamilyOf(base))) {
    if (module.key == formats::kClassifier) {
      AddClassifier(file, root + module.name, base, adapter);
    } else {
      file.AddLinear(root + module.name, base.hidden, base.hidden, adapter.spread);
    }
  }
}

// Linear layers of the family's sequence classifier, but its head: name -> in, out.
std::map<std::string, std::pair<int64_t, int64_t>> LinearLayers(const TinyBase& base) {
  const formats::EncoderFamily& family = FamilyOf(base);
  std::map<std::string, std::pair<int64_t, int64_t>> layers;
  for (int64_t i = 0; i < base.layers; ++i) {
    const formats::LayerNames names = family.Layer(i);
    for (const std::string* name : {&names.query, &names.key, &names.value, &names.attention_output}) {
      layers[family.task_prefix + *name] = {base.hidden, base.hidden};
    }
    layers[family.task_prefix + names.intermediate] = {base.hidden, base.intermediate};
    layers[family.task_prefix + names.output] = {base.intermediate, base.hidden};
  }
  if (family.head.dense_in_encoder) layers[family.task_prefix + family.pooler] = {base.hidden, base.hidden};
  return layers;
}

}  // namespace

const std::vector<std::string>& TinyWords() {
  static const std::vector<std::string>* const words = [] {
    std::istringstream stream(kWords);
    auto* list = new std::vector<std::string>;
    for (std::string word; stream >> word;) list->push_back(word);
    return list;
  }();
  return *words;
}

std::string TinyText(uint64_t seed, int64_t count) {
  std::mt19937_64 random(seed);
  std::vector<std::string> words;
  for (int64_t i = 0; i < count; ++i) words.push_back(TinyWords()[random() % TinyWords().size()]);
  return absl::StrJoin(words, " ");
}

void WriteTinyBase(const std::filesystem::path& folder, const TinyBase& base) {
  std::filesystem::create_directories(folder);
  TensorFile file(base.seed);
  const formats::EncoderFamily& family = FamilyOf(base);
  const std::string plain = family.plain_prefixes.empty() ? "" : family.plain_prefixes.front();
  const std::string prefix = base.labels.empty() ? plain : family.task_prefix;
  const formats::EmbeddingNames& embeddings = family.embeddings;
  const double spread = 0.15;
  const auto vocabulary = static_cast<int64_t>(Vocabulary().size());
  file.Add(prefix + embeddings.words + ".weight", {vocabulary, base.hidden}, 0, 1);
  file.Add(prefix + embeddings.positions + ".weight", {base.max_positions, base.hidden}, 0, spread);
  if (!embeddings.types.empty()) file.Add(prefix + embeddings.types + ".weight", {2, base.hidden}, 0, spread);
  file.AddNorm(prefix + embeddings.norm, base.hidden);
  for (int64_t i = 0; i < base.layers; ++i) {
    const formats::LayerNames layer = family.Layer(i);
    for (const std::string* name : {&layer.query, &layer.key, &layer.value, &layer.attention_output}) {
      file.AddLinear(prefix + *name, base.hidden, base.hidden, spread);
    }
    file.AddNorm(prefix + layer.attention_norm, base.hidden);
    file.AddLinear(prefix + layer.intermediate, base.hidden, base.intermediate, spread);
    file.AddLinear(prefix + layer.output, base.intermediate, base.hidden, spread);
    file.AddNorm(prefix + layer.output_norm, base.hidden);
  }
  if (!family.pooler.empty()) file.AddLinear(prefix + family.pooler, base.hidden, base.hidden, spread);
  if (!base.labels.empty()) {
    for (const formats::HeadModule& module : formats::HeadModules(family)) {
      const bool logits = module.key == formats::kClassifier;
      file.AddLinear(module.name, base.hidden, logits ? static_cast<int64_t>(base.labels.size()) : base.hidden, spread);
    }
  }
  file.Write(folder / "model.safetensors");
  WriteText(folder / "config.json", BaseConfig(base).dump(2));
  WriteText(folder / "vocab.txt", absl::StrJoin(Vocabulary(), "\n") + "\n");
  WriteText(folder / "tokenizer_config.json",
            nlohmann::json({{"tokenizer_class", "BertTokenizer"}, {"do_lower_case", true}}).dump(2));
}

void WriteTinyLora(const std::filesystem::path& folder, const TinyBase& base, const TinyAdapter& adapter) {
  std::filesystem::create_directories(folder);
  formats::LoraConfig lora;
  lora.r = adapter.r;
  lora.alpha = adapter.alpha;
  lora.target_modules = adapter.target_modules;
  lora.modules_to_save = {"classifier", "score"};
  lora.task_type = "SEQ_CLS";
  TensorFile file(adapter.seed);
  for (const auto& [name, shape] : LinearLayers(base)) {
    const auto target = formats::MatchLora(lora, name);
    if (!target) continue;
    file.Add("base_model.model." + name + ".lora_A.weight", {target->r, shape.first}, 0, adapter.spread);
    file.Add("base_model.model." + name + ".lora_B.weight", {shape.second, target->r}, 0, adapter.spread);
  }
  AddHead(file, "base_model.model.", base, adapter);
  file.Write(folder / "adapter_model.safetensors");
  WriteText(folder / "adapter_config.json", formats::WriteLoraConfig(lora));
  WriteText(folder / "tenon.json", formats::WriteTenonConfig(AdapterTenonConfig(adapter, "lora"), true));
}

void WriteTinyPrompt(const std::filesystem::path& folder, const TinyBase& base, const TinyAdapter& adapter) {
  std::filesystem::create_directories(folder);
  formats::PromptConfig prompt;
  prompt.num_virtual_tokens = adapter.r;
  prompt.task_type = "SEQ_CLS";
  TensorFile file(adapter.seed);
  file.Add("prompt_embeddings", {adapter.r, base.hidden}, 0, 1);
  AddHead(file, "base_model.", base, adapter);
  file.Write(folder / "adapter_model.safetensors");
  WriteText(folder / "adapter_config.json", formats::WritePromptConfig(prompt));
  WriteText(folder / "tenon.json", formats::WriteTenonConfig(AdapterTenonConfig(adapter, "prompt_tuning"), true));
}

void WriteTinyBottleneck(const std::filesystem::path& folder, const TinyBase& base, const TinyAdapter& adapter,
                         formats::BottleneckLayout layout) {
  std::filesystem::create_directories(folder);
  formats::BottleneckConfig config = formats::LayoutConfig(layout);
  config.reduction_factor = static_cast<double>(adapter.r);
  config.hidden_size = base.hidden;
  config.name = "tiny";
  const formats::EncoderFamily& family = FamilyOf(base);
  config.model_type = family.model_type;
  config.model_class = family.head.model_class;
  const int64_t width = formats::BottleneckWidth(config, base.hidden);
  TensorFile file(adapter.seed), head(adapter.seed + 1);
  for (int64_t i = 0; i < base.layers; ++i) {
    for (const std::string* place : {&family.hub.attention, &family.hub.output}) {
      if (place == &family.hub.attention && !config.after_attention) continue;
      const std::string block =
          absl::StrCat(family.task_prefix, family.layer_prefix, i, ".", *place, ".adapters.tiny.");
      file.AddLinear(block + "adapter_down.0", base.hidden, width, adapter.spread);
      file.AddLinear(block + "adapter_up", width, base.hidden, adapter.spread);
    }
  }
  AddHead(head, "", base, adapter);
  file.Write(folder / "adapter.safetensors");
  head.Write(folder / "model_head.safetensors");
  WriteText(folder / "adapter_config.json", formats::WriteBottleneckConfig(config));
  WriteText(folder / "head_config.json", formats::WriteHeadConfig(config, adapter.labels));
  WriteText(folder / "tenon.json", formats::WriteTenonConfig(AdapterTenonConfig(adapter, "bottleneck"), true));
}

void WriteTinyHead(const std::filesystem::path& folder, const TinyBase& base, const TinyAdapter& adapter) {
  std::filesystem::create_directories(folder);
  TensorFile file(adapter.seed);
  AddClassifier(file, "classifier", base, adapter);
  file.Write(folder / "head.safetensors");
  WriteText(folder / "tenon.json", formats::WriteTenonConfig(AdapterTenonConfig(adapter, "head"), true));
}

}  // namespace tenon::testing
