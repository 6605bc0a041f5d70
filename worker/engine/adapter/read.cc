#include "worker/engine/adapter/read.h"

#include <ATen/ops/equal.h>

#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/formats/files.h"
#include "common/formats/peft_config.h"
#include "common/formats/status.h"
#include "worker/engine/adapter/adapter_file.h"
#include "worker/engine/adapter/read_bottleneck.h"
#include "worker/engine/adapter/read_head.h"
#include "worker/engine/adapter/read_prompt.h"
#include "worker/engine/adapter/write.h"

namespace tenon::engine {
namespace {

using formats::kClassifier;

absl::StatusOr<std::optional<formats::TenonConfig>> ReadTenonConfig(const std::filesystem::path& folder,
                                                                    const AdapterSite& site) {
  std::error_code error;
  if (!std::filesystem::exists(folder / kTenonFile, error)) return std::nullopt;
  ASSIGN_OR_RETURN(const std::string text, ReadConfigText(folder / kTenonFile));
  ASSIGN_OR_RETURN(formats::TenonConfig config, formats::ParseTenonConfig(text));
  if (config.base_digest != site.base_digest) {
    return TenonError(Reason::kBaseMismatch,
                      absl::StrCat("the adapter belongs to base ", config.base_digest, ", not to ", site.base_digest),
                      "base_digest");
  }
  return std::optional<formats::TenonConfig>(std::move(config));
}

// The classifier decides how many labels there are; tenon.json must name as many.
absl::Status CheckLabels(const AdapterTensors& adapter) {
  const auto head = adapter.modules.find(kClassifier);
  if (head == adapter.modules.end()) return absl::OkStatus();
  const int64_t rows = head->second.weight.size(0);
  if (static_cast<int64_t>(adapter.config.labels.size()) == rows) return absl::OkStatus();
  return InvalidAdapter(
      absl::StrCat("tenon.json names ", adapter.config.labels.size(), " labels, the classifier has ", rows), "labels");
}

std::vector<std::string> DefaultLabels(int64_t count) {
  std::vector<std::string> labels;
  for (int64_t i = 0; i < count; ++i) labels.push_back(absl::StrCat("LABEL_", i));
  return labels;
}

absl::StatusOr<AdapterTensors> ReadHead(const std::filesystem::path& folder, const AdapterSite& site,
                                        formats::TenonConfig config) {
  AdapterTensors adapter;
  adapter.config = std::move(config);
  ASSIGN_OR_RETURN(AdapterFile file, AdapterFile::Open(folder / kHeadWeightsFile));
  const bool of_rows = formats::HeadOfTask(adapter.config.task) == formats::HeadKind::kSequence;
  ASSIGN_OR_RETURN(adapter.modules[kClassifier],
                   file.TakeModule(kClassifier, -1, of_rows ? site.vector_size() : site.hidden_size));
  if (adapter.config.crf) RETURN_IF_ERROR(TakeChain(file, "", adapter));
  RETURN_IF_ERROR(file.CheckAllTaken());
  RETURN_IF_ERROR(CheckLabels(adapter));
  return adapter;
}

// What stands before the modules' names in this file, behind kPeftRoot: the task model's prefix for SEQ_CLS, the plain
// model's otherwise. Without a task type either may stand there.
std::string ModulePrefix(const formats::LoraConfig& lora, const AdapterFile& file, const AdapterSite& site) {
  if (site.writer != nullptr) return "";
  if (site.causal != nullptr) {
    const formats::CausalFamily& family = *site.causal->family;
    if (!lora.task_type.empty()) return family.task_prefix;
    // Whoever wrapped the model without its output layer has the shorter names.
    for (const auto& [module, shape] : site.linear_layers) {
      if (file.Has(kPeftRoot + family.plain_prefix + module + ".lora_A.weight")) return family.plain_prefix;
    }
    return family.task_prefix;
  }
  const std::string task = site.bart != nullptr ? formats::kBartTaskPrefix : site.family()->task_prefix;
  const std::string plain = site.bart != nullptr ? "" : site.encoder->plain_prefix;
  if (site.bart != nullptr && lora.task_type == "SEQ_2_SEQ_LM") return task;
  if (!lora.task_type.empty()) return formats::IsPeftHeadTask(lora.task_type) ? task : plain;
  for (const auto& [module, shape] : site.linear_layers) {
    const std::string key = kPeftRoot + task + module;
    if (file.Has(key + ".lora_A.weight") || file.Has(key + ".weight")) return task;
  }
  return plain;
}

// PEFT keeps a copy of the output layer beside a LoRA on it; loading puts the copy in the base's place.
absl::Status TakeCopy(AdapterFile& file, const std::string& key, const std::string& module, const AdapterSite& site) {
  const at::Tensor& own = site.output_layer;
  if (module != "lm_head" || !own.defined()) return absl::OkStatus();  // left behind, and named
  ASSIGN_OR_RETURN(const at::Tensor copy, file.Take(key, {own.size(0), own.size(1)}));
  if (site.IsOutputLayer(copy)) return absl::OkStatus();
  return InvalidAdapter(absl::StrCat("tensor ", key, " differs from the base's own layer"), key);
}

absl::Status TakePairs(AdapterFile& file, const AdapterSite& site, AdapterTensors& adapter) {
  const bool of_task = formats::IsPeftHeadTask(adapter.lora.task_type) && site.family() != nullptr;
  for (const auto& [module, shape] : site.linear_layers) {
    if (of_task && !site.family()->InTaskModel(module, site.head)) continue;
    const std::string hf_name = adapter.PeftName(module), key = kPeftRoot + hf_name;
    const bool whole = site.causal == nullptr && file.Has(key + ".weight");
    if (whole || formats::SavesModule(adapter.lora, hf_name)) {
      ASSIGN_OR_RETURN(adapter.modules[module], file.TakeModule(key, shape.first, shape.second, site.HasBias(module)));
      continue;
    }
    // PEFT's `all-linear` leaves the output layer out.
    if (adapter.lora.all_linear && module == "lm_head") continue;
    const std::optional<formats::LoraTarget> target = formats::MatchLora(adapter.lora, hf_name);
    if (!target) continue;
    LoraPair pair;
    pair.scale = target->scale;
    ASSIGN_OR_RETURN(pair.a, file.Take(key + ".lora_A.weight", {target->r, shape.second}));
    ASSIGN_OR_RETURN(pair.b, file.Take(key + ".lora_B.weight", {shape.first, target->r}));
    adapter.pairs[module] = std::move(pair);
    if (file.Has(key + ".base_layer.weight")) RETURN_IF_ERROR(TakeCopy(file, key + ".base_layer.weight", module, site));
  }
  return absl::OkStatus();
}

formats::TenonConfig DefaultConfig(const std::string& method, const AdapterTensors& adapter, const AdapterSite& site) {
  formats::TenonConfig config;
  const auto head = adapter.modules.find(kClassifier);
  const bool classifies = head != adapter.modules.end();
  config.task = classifies ? formats::TaskOfHead(site.head) : site.plain_task();
  config.method = method;
  config.base_digest = site.base_digest;
  config.pooling = site.sentence.pooling;
  config.normalize = site.sentence.normalize;
  config.max_input_tokens = site.sentence.max_seq_length;
  if (classifies) config.labels = DefaultLabels(head->second.weight.size(0));
  if (classifies && site.head == formats::HeadKind::kAnswers) config.labels = formats::AnswerLabels();
  // As transformers takes one output of a classifier of rows.
  config.regression = site.head == formats::HeadKind::kSequence && config.labels.size() == 1;
  return config;
}

// What PEFT's model class, which the task type names, does and the base does not, or the other way round.
absl::Status CheckTaskType(const std::string& task_type, const AdapterSite& site) {
  if (task_type.empty() || (task_type == "CAUSAL_LM") == (site.causal != nullptr)) return absl::OkStatus();
  return TenonError(Reason::kUnsupported,
                    absl::StrCat("adapter_config.json: task_type is ", task_type, ", which the base does not do"),
                    "task_type");
}

// Of a LoRA, what depends on the base.
absl::Status CheckLora(const formats::LoraConfig& config, const AdapterSite& site) {
  const auto refuse = [](const char* key, const char* what) {
    return TenonError(Reason::kUnsupported, absl::StrCat("adapter_config.json: ", key, what), key);
  };
  if (config.fan_in_fan_out && (site.causal == nullptr || !site.causal->family->turned)) {
    return refuse("fan_in_fan_out", " is true; the base's weights are not turned");
  }
  if (site.causal != nullptr && !config.modules_to_save.empty()) {
    return refuse("modules_to_save", " is not supported on a base with a decoder alone");
  }
  return absl::OkStatus();
}

absl::StatusOr<AdapterTensors> ReadLora(AdapterFile& file, const formats::LoraConfig& config, const AdapterSite& site) {
  RETURN_IF_ERROR(CheckLora(config, site));
  AdapterTensors adapter;
  adapter.lora = config;
  if (config.default_targets && site.causal != nullptr) adapter.lora.target_modules = site.causal->family->lora_targets;
  adapter.prefix = ModulePrefix(adapter.lora, file, site);
  RETURN_IF_ERROR(TakePairs(file, site, adapter));
  if (formats::IsPeftHeadTask(adapter.lora.task_type) || HasHead(file, kPeftRoot, site)) {
    RETURN_IF_ERROR(TakeHead(file, kPeftRoot, -1, site, adapter));
  }
  if (adapter.pairs.empty() && adapter.modules.empty()) {
    RETURN_IF_ERROR(file.CheckAllTaken());
    return InvalidAdapter("target_modules names no layer of the base", "target_modules");
  }
  return adapter;
}

// The adapter in the folder's own format, and the method that its config is of; `labels` where a format has them.
absl::StatusOr<AdapterTensors> ReadForeign(const std::filesystem::path& folder, AdapterSite& site, std::string* method,
                                           std::vector<std::string>* labels) {
  if (IsAdapterHub(folder)) {
    *method = "bottleneck";
    if (site.causal != nullptr) {
      return TenonError(Reason::kUnsupported, "a base with a decoder alone takes LoRA and prompts, no bottlenecks",
                        "model_type");
    }
    return ReadBottleneck(folder, site, labels);
  }
  ASSIGN_OR_RETURN(const std::string text, ReadConfigText(folder / kPeftConfigFile));
  ASSIGN_OR_RETURN(const formats::PeftConfig peft, formats::ParsePeftConfig(text));
  *method = formats::PeftMethod(peft);
  RETURN_IF_ERROR(CheckTaskType(formats::PeftTaskType(peft), site));
  if (formats::IsPeftHeadTask(formats::PeftTaskType(peft))) {
    site.head = formats::HeadOfPeftTask(formats::PeftTaskType(peft));
  }
  ASSIGN_OR_RETURN(AdapterFile file, AdapterFile::Open(folder / kPeftWeightsFile));
  const auto* prompt = std::get_if<formats::PromptConfig>(&peft);
  ASSIGN_OR_RETURN(AdapterTensors adapter, prompt != nullptr
                                               ? ReadPrompt(file, *prompt, site)
                                               : ReadLora(file, std::get<formats::LoraConfig>(peft), site));
  RETURN_IF_ERROR(file.CheckAllTaken());
  return adapter;
}

// What the files' own config and tenon.json say of the head must agree.
absl::Status CheckTask(const formats::TenonConfig& config, const AdapterTensors& adapter, const AdapterSite& site) {
  const bool has_head = adapter.modules.count(kClassifier) > 0;
  if (!has_head || site.family() == nullptr || config.task == formats::TaskOfHead(site.head)) return absl::OkStatus();
  return InvalidAdapter(absl::StrCat("tenon.json says task ", config.task, ", adapter_config.json is of ",
                                     formats::TaskOfHead(site.head)),
                        "task");
}

absl::StatusOr<AdapterTensors> ReadInserted(const std::filesystem::path& folder, AdapterSite site,
                                            std::optional<formats::TenonConfig> config) {
  // PEFT's file says it, too, but AdapterHub's does not, nor one of PEFT without a task type.
  if (config) site.head = formats::HeadOfTask(config->task);
  site.crf = config && config->crf;
  std::string method;
  std::vector<std::string> labels;
  ASSIGN_OR_RETURN(AdapterTensors adapter, ReadForeign(folder, site, &method, &labels));
  if (config && config->method != method) {
    return InvalidAdapter(
        absl::StrCat("tenon.json says method ", config->method, ", adapter_config.json is of ", method), "method");
  }
  if (config) {
    RETURN_IF_ERROR(CheckTask(*config, adapter, site));
    adapter.config = *std::move(config);
  } else {
    adapter.config = DefaultConfig(method, adapter, site);
    if (!labels.empty() && site.head != formats::HeadKind::kAnswers) adapter.config.labels = std::move(labels);
  }
  RETURN_IF_ERROR(CheckLabels(adapter));
  adapter.family = site.family();
  return adapter;
}

}  // namespace

std::string AdapterSite::model_type() const {
  return writer != nullptr ? writer->model_type : bart != nullptr ? bart->model_type : family()->model_type;
}

bool AdapterSite::HasBias(const std::string& module) const {
  return writer == nullptr && causal == nullptr && module != "lm_head";
}

const char* AdapterSite::plain_task() const {
  return causal != nullptr ? "causal_lm" : generates() ? "seq2seq" : "feature_extraction";
}

bool AdapterSite::IsOutputLayer(const at::Tensor& layer) const {
  return at::equal(layer.to(output_layer.scalar_type()), output_layer.to(at::kCPU));
}

absl::StatusOr<AdapterTensors> ReadAdapter(const std::filesystem::path& folder, const AdapterSite& site) {
  ASSIGN_OR_RETURN(std::optional<formats::TenonConfig> config, ReadTenonConfig(folder, site));
  const bool writes = config && (config->task == "seq2seq" || config->task == "causal_lm");
  if (config && (writes || site.generates()) && config->task != site.plain_task()) {
    return InvalidAdapter(absl::StrCat("the adapter is for task ", config->task, ", which the base does not do"),
                          "task");
  }
  if (config && config->method == "head") return ReadHead(folder, site, *std::move(config));
  return ReadInserted(folder, site, std::move(config));
}

}  // namespace tenon::engine
