#include "worker/engine/adapter/read.h"

#include <optional>
#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/formats/files.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "worker/engine/adapter/write.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/model/weights.h"

namespace tenon::engine {
namespace {

constexpr int64_t kMaxConfigBytes = 4 << 20;
constexpr char kClassifier[] = "classifier";
constexpr char kPeftRoot[] = "base_model.model.";

absl::Status Invalid(const std::string& message, const std::string& key) {
  return TenonError(Reason::kAdapterInvalid, message, key);
}

// The tensors of one adapter file: each is taken once, and none may stay behind.
class AdapterFile {
 public:
  static absl::StatusOr<AdapterFile> Open(const std::filesystem::path& file) {
    ASSIGN_OR_RETURN(auto tensors, formats::Safetensors::Open(file, formats::Safetensors::Limits{}));
    return AdapterFile(std::move(tensors));
  }

  bool Has(const std::string& key) const { return file_->Find(key) != nullptr; }

  // A dimension of -1 in `shape` may be anything.
  absl::StatusOr<at::Tensor> Take(const std::string& key, const std::vector<int64_t>& shape) {
    const formats::TensorView* view = file_->Find(key);
    if (view == nullptr) return Invalid(absl::StrCat("the adapter lacks the tensor ", key), key);
    bool fits = view->shape.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) {
      fits = view->shape[i] > 0 && (shape[i] < 0 || view->shape[i] == shape[i]);
    }
    if (!fits) {
      return Invalid(absl::StrCat("tensor ", key, " has shape [", absl::StrJoin(view->shape, ", "), "], expected [",
                                  absl::StrJoin(shape, ", "), "]"),
                     key);
    }
    absl::StatusOr<at::Tensor> tensor = ToTensor(*view, at::Device(at::kCPU), at::kFloat);
    if (!tensor.ok()) return Invalid(absl::StrCat("tensor ", key, " is not of a float type"), key);
    if (!AllFinite(*tensor)) return Invalid(absl::StrCat("tensor ", key, " has values that are not finite"), key);
    taken_.insert(key);
    return tensor;
  }

  absl::Status CheckAllTaken() const {
    for (const auto& [key, view] : file_->tensors()) {
      if (taken_.count(key) == 0) {
        return Invalid(absl::StrCat("tensor ", key, " belongs to nothing that adapter_config.json or the base names"),
                       key);
      }
    }
    return absl::OkStatus();
  }

 private:
  explicit AdapterFile(std::shared_ptr<const formats::Safetensors> file) : file_(std::move(file)) {}
  std::shared_ptr<const formats::Safetensors> file_;
  std::set<std::string> taken_;
};

absl::StatusOr<std::optional<formats::TenonConfig>> ReadTenonConfig(const std::filesystem::path& folder,
                                                                    const AdapterSite& site) {
  std::error_code error;
  if (!std::filesystem::exists(folder / kTenonFile, error)) return std::nullopt;
  ASSIGN_OR_RETURN(const std::string text,
                   formats::ReadFile(folder / kTenonFile, kMaxConfigBytes, Reason::kAdapterInvalid));
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
  return Invalid(absl::StrCat("tenon.json names ", adapter.config.labels.size(), " labels, the classifier has ", rows),
                 "labels");
}

std::vector<std::string> DefaultLabels(int64_t count) {
  std::vector<std::string> labels;
  for (int64_t i = 0; i < count; ++i) labels.push_back(absl::StrCat("LABEL_", i));
  return labels;
}

absl::StatusOr<SavedModule> TakeModule(AdapterFile& file, const std::string& key, int64_t out, int64_t in,
                                       bool has_bias = true) {
  SavedModule module;
  ASSIGN_OR_RETURN(module.weight, file.Take(key + ".weight", {out, in}));
  if (!has_bias) return module;
  ASSIGN_OR_RETURN(module.bias, file.Take(key + ".bias", {module.weight.size(0)}));
  return module;
}

absl::StatusOr<AdapterTensors> ReadHead(const std::filesystem::path& folder, const AdapterSite& site,
                                        formats::TenonConfig config) {
  AdapterTensors adapter;
  adapter.config = std::move(config);
  ASSIGN_OR_RETURN(AdapterFile file, AdapterFile::Open(folder / kHeadWeightsFile));
  ASSIGN_OR_RETURN(adapter.modules[kClassifier], TakeModule(file, kClassifier, -1, site.hidden_size));
  RETURN_IF_ERROR(file.CheckAllTaken());
  RETURN_IF_ERROR(CheckLabels(adapter));
  return adapter;
}

// The encoder's prefix in this file. Without a task type either form may stand there.
std::string EncoderPrefix(const formats::LoraConfig& lora, const AdapterFile& file, const AdapterSite& site) {
  if (!lora.task_type.empty()) return PeftPrefix(lora.task_type);
  for (const std::string& task : {std::string("SEQ_CLS"), std::string()}) {
    for (const auto& [module, shape] : site.linear_layers) {
      const std::string key = PeftPrefix(task) + module;
      if (file.Has(key + ".lora_A.weight") || file.Has(key + ".weight")) return PeftPrefix(task);
    }
  }
  return PeftPrefix("");
}

absl::Status TakePairs(AdapterFile& file, const std::string& prefix, const AdapterSite& site, AdapterTensors& adapter) {
  for (const auto& [module, shape] : site.linear_layers) {
    const std::string key = prefix + module;
    const std::string hf_name(absl::StripPrefix(key, kPeftRoot));
    if (file.Has(key + ".weight") || formats::SavesModule(adapter.lora, hf_name)) {
      ASSIGN_OR_RETURN(adapter.modules[module], TakeModule(file, key, shape.first, shape.second, !site.generates));
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
  }
  return absl::OkStatus();
}

formats::TenonConfig DefaultConfig(const AdapterTensors& adapter, const AdapterSite& site) {
  formats::TenonConfig config;
  const auto head = adapter.modules.find(kClassifier);
  const bool classifies = head != adapter.modules.end();
  config.task = site.generates ? "seq2seq" : classifies ? "sequence_classification" : "feature_extraction";
  config.method = "lora";
  config.base_digest = site.base_digest;
  config.pooling = site.sentence.pooling;
  config.normalize = site.sentence.normalize;
  config.max_input_tokens = site.sentence.max_seq_length;
  if (classifies) config.labels = DefaultLabels(head->second.weight.size(0));
  return config;
}

absl::StatusOr<AdapterTensors> ReadLora(const std::filesystem::path& folder, const AdapterSite& site,
                                        std::optional<formats::TenonConfig> config) {
  AdapterTensors adapter;
  ASSIGN_OR_RETURN(const std::string text,
                   formats::ReadFile(folder / kPeftConfigFile, kMaxConfigBytes, Reason::kAdapterInvalid));
  ASSIGN_OR_RETURN(adapter.lora, formats::ParseLoraConfig(text));
  ASSIGN_OR_RETURN(AdapterFile file, AdapterFile::Open(folder / kPeftWeightsFile));
  RETURN_IF_ERROR(TakePairs(file, EncoderPrefix(adapter.lora, file, site), site, adapter));
  const std::string classifier = absl::StrCat(kPeftRoot, kClassifier);
  if (adapter.lora.task_type == "SEQ_CLS" || file.Has(classifier + ".weight")) {
    ASSIGN_OR_RETURN(adapter.modules[kClassifier], TakeModule(file, classifier, -1, site.hidden_size));
    const bool pooler = site.linear_layers.count("pooler.dense") > 0;
    if (!pooler)
      return Invalid("the adapter's classifier reads the pooler's output, and the base has no pooler", "pooler.dense");
  }
  RETURN_IF_ERROR(file.CheckAllTaken());
  if (adapter.pairs.empty() && adapter.modules.empty()) {
    return Invalid("target_modules names no layer of the base", "target_modules");
  }
  adapter.config = config ? *std::move(config) : DefaultConfig(adapter, site);
  RETURN_IF_ERROR(CheckLabels(adapter));
  return adapter;
}

}  // namespace

absl::StatusOr<AdapterTensors> ReadAdapter(const std::filesystem::path& folder, const AdapterSite& site) {
  ASSIGN_OR_RETURN(std::optional<formats::TenonConfig> config, ReadTenonConfig(folder, site));
  if (config && (config->task == "seq2seq") != site.generates) {
    return Invalid(absl::StrCat("the adapter is for task ", config->task, ", which the base does not do"), "task");
  }
  if (config && config->method == "head") return ReadHead(folder, site, *std::move(config));
  return ReadLora(folder, site, std::move(config));
}

}  // namespace tenon::engine
