#include "server/app/catalog_adapter_check.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/adapter_config.h"
#include "common/formats/files.h"
#include "common/formats/peft_config.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"
#include "common/tuning_options.h"

namespace tenon::server {
namespace {

constexpr char kPeftConfig[] = "adapter_config.json";
constexpr char kPeftWeights[] = "adapter_model.safetensors";
constexpr char kTenonConfig[] = "tenon.json";
constexpr char kHeadWeights[] = "head.safetensors";
constexpr int64_t kMaxJson = 4 << 20;
constexpr int64_t kMaxWeights = int64_t{1} << 30;
constexpr size_t kMaxLabelBytes = 256;

absl::Status Invalid(const std::string& message, const std::string& file) {
  return TenonError(Reason::kAdapterInvalid, message, file);
}

bool Has(const StagedFolder& folder, const std::string& name) {
  return std::any_of(folder.files().begin(), folder.files().end(),
                     [&](const v1::FileEntry& file) { return file.path() == name; });
}

absl::StatusOr<std::string> ReadJson(const StagedFolder& folder, const std::string& name) {
  return formats::ReadFile(folder.path() / name, kMaxJson, Reason::kAdapterInvalid);
}

// Rows of the classification head; nothing without one.
absl::StatusOr<std::optional<int64_t>> HeadRows(const formats::Safetensors& tensors, const std::string& name) {
  const formats::TensorView* weight = tensors.Find(name);
  if (weight == nullptr) return std::nullopt;
  if (weight->shape.size() != 2 || weight->shape[0] < 1) return Invalid(name + " must have two dimensions", name);
  return weight->shape[0];
}

absl::Status CheckLabels(const std::vector<std::string>& labels) {
  std::set<std::string> seen;
  for (size_t i = 0; i < labels.size(); ++i) {
    const std::string field = absl::StrCat("header.labels[", i, "]");
    if (labels[i].empty() || labels[i].size() > kMaxLabelBytes || !formats::IsValidUtf8(labels[i])) {
      return TenonError(Reason::kFieldInvalid,
                        absl::StrCat(field, " must have 1 to ", kMaxLabelBytes, " bytes of UTF-8"), field);
    }
    if (!seen.insert(labels[i]).second) {
      return TenonError(Reason::kFieldInvalid, absl::StrCat(field, ": '", labels[i], "' occurs twice"), field);
    }
  }
  return absl::OkStatus();
}

// tenon.json for an adapter that came from PEFT.
absl::StatusOr<formats::TenonConfig> Defaults(const formats::PeftConfig& peft, const AdapterBase& base,
                                              const std::vector<std::string>& labels,
                                              std::optional<int64_t> head_rows) {
  formats::TenonConfig config;
  config.method = formats::PeftMethod(peft);
  config.base_digest = base.digest;
  config.pooling = base.pooling == v1::POOLING_CLS   ? formats::Pooling::kCls
                   : base.pooling == v1::POOLING_MAX ? formats::Pooling::kMax
                                                     : formats::Pooling::kMean;
  config.normalize = base.normalize;
  if (!head_rows.has_value()) {
    if (formats::PeftTaskType(peft) == "SEQ_CLS") {
      return Invalid("task_type is SEQ_CLS, but the weights have no classifier", kPeftWeights);
    }
    if (!labels.empty()) {
      return TenonError(Reason::kFieldInvalid, "the adapter has no classification head, so it takes no labels",
                        "header.labels");
    }
    config.task = "feature_extraction";
    return config;
  }
  config.task = "sequence_classification";
  config.labels = labels;
  if (labels.empty()) {
    for (int64_t i = 0; i < *head_rows; ++i) config.labels.push_back(absl::StrCat("LABEL_", i));
  }
  return config;
}

absl::StatusOr<AdapterFacts> ToFacts(const formats::TenonConfig& config) {
  AdapterFacts facts;
  if (config.task == "sequence_classification") {
    facts.task = v1::TASK_SEQUENCE_CLASSIFICATION;
  } else if (config.task == "feature_extraction") {
    facts.task = v1::TASK_FEATURE_EXTRACTION;
  } else {
    return Invalid(absl::StrCat("tenon.json: unknown task '", config.task, "'"), kTenonConfig);
  }
  facts.method = MethodOfName(config.method);
  facts.labels = config.labels;
  facts.multi_label = config.multi_label;
  return facts;
}

absl::Status CheckAgainst(const formats::TenonConfig& config, const AdapterBase& base,
                          const std::vector<std::string>& labels, std::optional<int64_t> head_rows) {
  if (config.base_digest != base.digest) {
    return TenonError(
        Reason::kBaseMismatch,
        absl::StrCat("tenon.json binds the adapter to base ", config.base_digest, ", not to ", base.digest),
        "header.base");
  }
  if (!labels.empty() && labels != config.labels) {
    return TenonError(Reason::kFieldInvalid, "labels differ from the adapter's own", "header.labels");
  }
  const auto rows = static_cast<int64_t>(config.labels.size());
  if (rows != head_rows.value_or(0)) {
    const std::string message =
        absl::StrCat("the classification head has ", head_rows.value_or(0), " rows for ", rows, " labels");
    return labels.empty() ? Invalid(message, kTenonConfig)
                          : TenonError(Reason::kFieldInvalid, message, "header.labels");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int64_t> AdapterFileLimit(const std::string& name) {
  if (name == kPeftConfig || name == kTenonConfig || name == "README.md") return kMaxJson;
  if (name == kPeftWeights || name == kHeadWeights) return kMaxWeights;
  const bool pickle = absl::EndsWith(name, ".bin") || absl::EndsWith(name, ".pt") || absl::EndsWith(name, ".pkl");
  return Invalid(absl::StrCat("file '", name, "' is no part of an adapter",
                              pickle ? "; pickles are never read: save it as safetensors" : ""),
                 name);
}

absl::StatusOr<AdapterFacts> CheckStagedAdapter(StagedFolder* folder, const AdapterBase& base,
                                                const std::vector<std::string>& labels) {
  RETURN_IF_ERROR(CheckLabels(labels));
  const bool head = Has(*folder, kHeadWeights);
  if (head == Has(*folder, kPeftWeights)) {
    return Invalid(head ? "both head.safetensors and adapter_model.safetensors" : "no adapter_model.safetensors",
                   kPeftWeights);
  }
  const std::string weights = head ? kHeadWeights : kPeftWeights;
  ASSIGN_OR_RETURN(const auto tensors,
                   formats::Safetensors::Open(folder->path() / weights, formats::Safetensors::Limits()));
  std::optional<formats::PeftConfig> peft;
  if (!head) {
    if (!Has(*folder, kPeftConfig)) return Invalid("no adapter_config.json", kPeftConfig);
    ASSIGN_OR_RETURN(const std::string text, ReadJson(*folder, kPeftConfig));
    ASSIGN_OR_RETURN(peft, formats::ParsePeftConfig(text));
  }
  ASSIGN_OR_RETURN(const auto head_rows,
                   HeadRows(*tensors, head ? "classifier.weight" : formats::PeftClassifierWeight(*peft)));

  formats::TenonConfig config;
  if (Has(*folder, kTenonConfig)) {
    ASSIGN_OR_RETURN(const std::string text, ReadJson(*folder, kTenonConfig));
    ASSIGN_OR_RETURN(config, formats::ParseTenonConfig(text));
    if (config.method != (head ? "head" : formats::PeftMethod(*peft))) {
      return Invalid(absl::StrCat("tenon.json says method '", config.method, "', but the files are of ",
                                  head ? "head" : formats::PeftMethod(*peft)),
                     kTenonConfig);
    }
  } else if (peft.has_value()) {
    ASSIGN_OR_RETURN(config, Defaults(*peft, base, labels, head_rows));
  } else {
    return Invalid("a head adapter needs its tenon.json", kTenonConfig);
  }
  RETURN_IF_ERROR(CheckAgainst(config, base, labels, head_rows));
  if (!Has(*folder, kTenonConfig)) {
    const std::string text = formats::WriteTenonConfig(config, /*with_job=*/true);
    RETURN_IF_ERROR(folder->Start(kTenonConfig));
    RETURN_IF_ERROR(folder->Append(text.data(), text.size()));
    RETURN_IF_ERROR(folder->Finish());
  }
  return ToFacts(config);
}

}  // namespace tenon::server
