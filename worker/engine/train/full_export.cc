#include "worker/engine/train/full_export.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <system_error>

#include "absl/strings/match.h"
#include "common/formats/classifier_config.h"
#include "common/formats/config_json.h"
#include "common/formats/encoder_family.h"
#include "common/formats/files.h"
#include "common/formats/model_config.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "worker/engine/checkpoint/checkpoint.h"
#include "worker/engine/model/t5/reader.h"
#include "worker/engine/train/full_t5.h"

namespace tenon::engine {
namespace {

constexpr char kWeightsFile[] = "model.safetensors";
constexpr int64_t kMaxFileBytes = 256 << 20;  // of a tokenizer

// config.json of a T5 in fp32.
std::string WriterConfig(nlohmann::json config) {
  for (const char* type : {"dtype", "torch_dtype"}) config[type] = "float32";  // transformers 5 and 4
  return config.dump(2) + "\n";
}

absl::Status WriteText(const std::filesystem::path& file, const std::string& text) {
  return formats::WriteFileDurably(file, {{text.data(), text.size()}});
}

// The base's files but its weights and config.json.
absl::Status CarryOver(const Base& base, const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const auto files, formats::BaseFiles(base.folder()));
  for (const auto& [name, path] : files) {
    if (name == formats::kConfigFile || absl::EndsWith(name, ".safetensors") ||
        absl::EndsWith(name, ".safetensors.index.json")) {
      continue;
    }
    ASSIGN_OR_RETURN(const std::string bytes, formats::ReadFile(path, kMaxFileBytes, Reason::kBaseInvalid));
    RETURN_IF_ERROR(WriteText(folder / name, bytes));
  }
  return absl::OkStatus();
}

// An embedding that is the output layer, too, is written as that where the base's file has it twice: its config.json
// may say that they differ.
NamedTensors WriterTensors(const Base& base, const AdapterTensors& model) {
  constexpr char kOutput[] = "lm_head.weight";
  NamedTensors tensors = T5Tensors(model.modules);
  if (base.weights().Find(kOutput) != nullptr) tensors.try_emplace(kOutput, model.modules.at(kT5Embedding).weight);
  return tensors;
}

NamedTensors ClassifierTensors(const AdapterTensors& model) {
  NamedTensors tensors;
  std::map<std::string, std::string> head;
  for (const auto& module : formats::HeadModules(*model.family, formats::HeadOfTask(model.config.task))) {
    head[module.key] = module.name;
  }
  for (const auto& [module, saved] : model.modules) {
    const auto of_head = head.find(module);
    const std::string name = of_head != head.end() ? of_head->second : model.family->task_prefix + module;
    tensors[name + ".weight"] = saved.weight;
    if (saved.bias.defined()) tensors[name + ".bias"] = saved.bias;
  }
  return tensors;
}

}  // namespace

absl::Status WriteFullModel(const std::filesystem::path& folder, const Base& base, const AdapterTensors& model) {
  ASSIGN_OR_RETURN(nlohmann::json config, formats::ReadConfigJson(base.folder()));
  RETURN_IF_ERROR(CarryOver(base, folder));
  const std::string text =
      base.generates() ? WriterConfig(std::move(config))
                       : formats::ClassifierConfig(std::move(config),
                                                   model.family->ModelClass(formats::HeadOfTask(model.config.task)),
                                                   model.config, "float32");
  RETURN_IF_ERROR(WriteText(folder / formats::kConfigFile, text));
  return WriteTensors(folder / kWeightsFile, base.generates() ? WriterTensors(base, model) : ClassifierTensors(model));
}

}  // namespace tenon::engine
