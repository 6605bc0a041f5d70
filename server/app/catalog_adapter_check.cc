#include "server/app/catalog_adapter_check.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/adapter_config.h"
#include "common/formats/bottleneck_config.h"
#include "common/formats/causal_config.h"
#include "common/formats/families/families.h"
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
// AdapterHub's: its config has the name of PEFT's.
constexpr char kHubWeights[] = "adapter.safetensors";
constexpr char kHubHead[] = "model_head.safetensors";
constexpr char kHubHeadConfig[] = "head_config.json";
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

// What the files say without tenon.json.
struct Contents {
  std::string method;
  bool wants_head = false;                                // the config says that it has one
  formats::HeadKind head = formats::HeadKind::kSequence;  // as far as the files say it
  bool writes = false;                                    // the config says that its model writes texts from texts
  bool goes_on = false;                                   // the config says that its model goes on from a prompt
  std::optional<int64_t> head_rows;                       // of the classification head; nothing without one
  std::vector<std::string> labels;                        // the head's own, where its format has them
};

absl::StatusOr<std::shared_ptr<const formats::Safetensors>> OpenWeights(const StagedFolder& folder,
                                                                        const std::string& name) {
  return formats::Safetensors::Open(folder.path() / name, formats::Safetensors::Limits());
}

// A head's last layer, as files of the base's family call it.
std::string HeadName(const AdapterBase& base, formats::HeadKind kind) {
  const formats::EncoderFamily* family = formats::FindFamily(base.model_type);
  const auto modules = family == nullptr ? std::vector<formats::HeadModule>() : formats::HeadModules(*family, kind);
  return modules.empty() ? formats::kClassifier : modules.front().name;
}

absl::StatusOr<Contents> ReadHub(const StagedFolder& folder, const AdapterBase& base, formats::HeadKind told) {
  Contents contents{.method = "bottleneck", .head = told};
  ASSIGN_OR_RETURN(const std::string text, ReadJson(folder, kPeftConfig));
  ASSIGN_OR_RETURN(const formats::BottleneckConfig config, formats::ParseBottleneckConfig(text));
  contents.writes = config.model_type == "t5";
  const formats::EncoderFamily* family = formats::FindFamily(base.model_type);
  for (const auto kind : {formats::HeadKind::kTokens, formats::HeadKind::kAnswers}) {
    if (family != nullptr && config.model_class == family->ModelClass(kind)) contents.head = kind;
  }
  RETURN_IF_ERROR(OpenWeights(folder, kHubWeights).status());
  if (!Has(folder, kHubHead)) return contents;
  ASSIGN_OR_RETURN(const auto tensors, OpenWeights(folder, kHubHead));
  if (!Has(folder, kHubHeadConfig)) return Invalid("no head_config.json", kHubHeadConfig);
  ASSIGN_OR_RETURN(const std::string head, ReadJson(folder, kHubHeadConfig));
  ASSIGN_OR_RETURN(std::vector<std::string> labels, formats::ParseHeadConfig(head));
  if (contents.writes) return contents;  // an output layer, whose labels mean nothing
  contents.labels = std::move(labels);
  ASSIGN_OR_RETURN(contents.head_rows, HeadRows(*tensors, HeadName(base, contents.head) + ".weight"));
  return contents;
}

// What belongs to a base with a decoder alone, or to one whose weights are turned.
absl::Status CheckCausal(const formats::PeftConfig& peft, const AdapterBase& base) {
  const formats::CausalFamily* family = formats::FindCausalFamily(base.model_type);
  const auto* lora = std::get_if<formats::LoraConfig>(&peft);
  const std::string& task = formats::PeftTaskType(peft);
  if ((task == "CAUSAL_LM") != (family != nullptr) && !task.empty()) {
    return TenonError(Reason::kUnsupported,
                      absl::StrCat("adapter_config.json: task_type is ", task, ", which the base does not do"),
                      "task_type");
  }
  if (lora != nullptr && lora->fan_in_fan_out && (family == nullptr || !family->turned)) {
    return TenonError(Reason::kUnsupported,
                      "adapter_config.json: fan_in_fan_out is true; the base's weights are not turned",
                      "fan_in_fan_out");
  }
  return absl::OkStatus();
}

absl::StatusOr<Contents> ReadPeft(const StagedFolder& folder, const AdapterBase& base, formats::HeadKind told) {
  ASSIGN_OR_RETURN(const std::string text, ReadJson(folder, kPeftConfig));
  ASSIGN_OR_RETURN(const formats::PeftConfig peft, formats::ParsePeftConfig(text));
  RETURN_IF_ERROR(CheckCausal(peft, base));
  Contents contents{.method = formats::PeftMethod(peft),
                    .wants_head = formats::IsPeftHeadTask(formats::PeftTaskType(peft)),
                    .head = told,
                    .writes = formats::PeftTaskType(peft) == "SEQ_2_SEQ_LM",
                    .goes_on = formats::PeftTaskType(peft) == "CAUSAL_LM"};
  if (contents.wants_head) contents.head = formats::HeadOfPeftTask(formats::PeftTaskType(peft));
  ASSIGN_OR_RETURN(const auto tensors, OpenWeights(folder, kPeftWeights));
  const std::string output = HeadName(base, contents.head);
  ASSIGN_OR_RETURN(contents.head_rows,
                   HeadRows(*tensors, absl::StrCat(formats::PeftHeadRoot(peft), output, ".weight")));
  return contents;
}

// The weights decide which of the three formats the files are of. `told`: what tenon.json says of the head, for formats
// that do not say it themselves.
absl::StatusOr<Contents> ReadContents(const StagedFolder& folder, const AdapterBase& base, formats::HeadKind told) {
  const bool head = Has(folder, kHeadWeights), peft = Has(folder, kPeftWeights), hub = Has(folder, kHubWeights);
  if (head + peft + hub != 1) {
    return Invalid(head + peft + hub == 0 ? absl::StrCat("no ", kPeftWeights, ", ", kHubWeights, " or ", kHeadWeights)
                                          : "weights of more than one kind of adapter",
                   kPeftWeights);
  }
  for (const char* name : {kHubHead, kHubHeadConfig}) {
    if (!hub && Has(folder, name)) return Invalid(absl::StrCat(name, " belongs beside ", kHubWeights), name);
  }
  if (head) {
    Contents contents{.method = "head", .head = told};
    ASSIGN_OR_RETURN(const auto tensors, OpenWeights(folder, kHeadWeights));
    ASSIGN_OR_RETURN(contents.head_rows, HeadRows(*tensors, "classifier.weight"));
    return contents;
  }
  if (!Has(folder, kPeftConfig)) return Invalid("no adapter_config.json", kPeftConfig);
  return hub ? ReadHub(folder, base, told) : ReadPeft(folder, base, told);
}

// tenon.json for an adapter that came from elsewhere.
absl::StatusOr<formats::TenonConfig> Defaults(const Contents& contents, const AdapterBase& base,
                                              const AdapterHints& hints) {
  const std::vector<std::string>& labels = hints.labels;
  formats::TenonConfig config;
  config.method = contents.method;
  config.base_digest = base.digest;
  config.pooling = base.pooling == v1::POOLING_CLS   ? formats::Pooling::kCls
                   : base.pooling == v1::POOLING_MAX ? formats::Pooling::kMax
                                                     : formats::Pooling::kMean;
  config.normalize = base.normalize;
  if (!contents.head_rows.has_value()) {
    if (contents.wants_head) {
      return Invalid(absl::StrCat("task_type is ", formats::PeftTaskOfHead(contents.head), ", but the weights have no ",
                                  HeadName(base, contents.head)),
                     kPeftWeights);
    }
    if (!labels.empty()) {
      return TenonError(Reason::kFieldInvalid, "the adapter has no classification head, so it takes no labels",
                        "header.labels");
    }
    const bool goes_on = contents.goes_on || formats::FindCausalFamily(base.model_type) != nullptr;
    config.task = contents.writes ? "seq2seq" : goes_on ? "causal_lm" : "feature_extraction";
    if (hints.text_template.has_value()) {
      config.text_template = {hints.text_template->input(), hints.text_template->target()};
    }
    return config;
  }
  config.task = formats::TaskOfHead(contents.head);
  if (contents.head == formats::HeadKind::kAnswers) {
    config.labels = formats::AnswerLabels();
    if (labels.empty() || labels == config.labels) return config;
    return TenonError(Reason::kFieldInvalid, "the adapter finds answers, so it takes no labels", "header.labels");
  }
  config.labels = labels.empty() ? contents.labels : labels;
  if (config.labels.empty()) {
    for (int64_t i = 0; i < *contents.head_rows; ++i) config.labels.push_back(absl::StrCat("LABEL_", i));
  }
  config.regression = contents.head == formats::HeadKind::kSequence && contents.head_rows == 1;
  return config;
}

absl::StatusOr<AdapterFacts> ToFacts(const formats::TenonConfig& config) {
  AdapterFacts facts;
  facts.task = TaskOf(config);
  if (facts.task == v1::TASK_UNSPECIFIED) {
    return Invalid(absl::StrCat("tenon.json: unknown task '", config.task, "'"), kTenonConfig);
  }
  facts.method = MethodOfName(config.method);
  facts.labels = config.labels;
  facts.multi_label = config.multi_label;
  facts.regression = config.regression;
  if (config.text_template.has_value()) {
    facts.text_template.emplace();
    facts.text_template->set_input(config.text_template->input);
    facts.text_template->set_target(config.text_template->target);
  }
  return facts;
}

// Given beside the adapter's own template, it must be the same.
absl::Status CheckTemplate(const formats::TenonConfig& config, const AdapterHints& hints) {
  const std::string field = "header.text_template";
  if (!hints.text_template.has_value()) return absl::OkStatus();
  if (config.task != "seq2seq") {
    return TenonError(Reason::kFieldInvalid, "the adapter does not write texts, so it takes no template", field);
  }
  const formats::TextTemplate given{hints.text_template->input(), hints.text_template->target()};
  RETURN_IF_ERROR(formats::CheckTemplate(given, field));
  if (config.text_template == given) return absl::OkStatus();
  return TenonError(Reason::kFieldInvalid, "the template differs from the adapter's own", field);
}

absl::Status CheckAgainst(const formats::TenonConfig& config, const AdapterBase& base, const AdapterHints& hints,
                          std::optional<int64_t> head_rows) {
  const std::vector<std::string>& labels = hints.labels;
  RETURN_IF_ERROR(CheckTemplate(config, hints));
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
  if (name == kHubHeadConfig) return kMaxJson;
  if (name == kPeftWeights || name == kHeadWeights || name == kHubWeights || name == kHubHead) return kMaxWeights;
  const bool pickle = absl::EndsWith(name, ".bin") || absl::EndsWith(name, ".pt") || absl::EndsWith(name, ".pkl");
  return Invalid(absl::StrCat("file '", name, "' is no part of an adapter",
                              pickle ? "; pickles are never read: save it as safetensors" : ""),
                 name);
}

absl::StatusOr<AdapterFacts> CheckStagedAdapter(StagedFolder* folder, const AdapterBase& base,
                                                const AdapterHints& hints) {
  RETURN_IF_ERROR(CheckLabels(hints.labels));
  formats::TenonConfig config;
  if (Has(*folder, kTenonConfig)) {
    ASSIGN_OR_RETURN(const std::string text, ReadJson(*folder, kTenonConfig));
    ASSIGN_OR_RETURN(config, formats::ParseTenonConfig(text));
  }
  ASSIGN_OR_RETURN(const Contents contents, ReadContents(*folder, base, formats::HeadOfTask(config.task)));
  if (Has(*folder, kTenonConfig)) {
    if (contents.head_rows.has_value() && config.task != formats::TaskOfHead(contents.head)) {
      return Invalid(absl::StrCat("tenon.json says task '", config.task, "', but the files are of ",
                                  formats::TaskOfHead(contents.head)),
                     kTenonConfig);
    }
    if (config.method != contents.method) {
      return Invalid(
          absl::StrCat("tenon.json says method '", config.method, "', but the files are of ", contents.method),
          kTenonConfig);
    }
  } else if (contents.method == "head") {
    return Invalid("a head adapter needs its tenon.json", kTenonConfig);
  } else {
    ASSIGN_OR_RETURN(config, Defaults(contents, base, hints));
  }
  RETURN_IF_ERROR(CheckAgainst(config, base, hints, contents.head_rows));
  if (!Has(*folder, kTenonConfig)) {
    const std::string text = formats::WriteTenonConfig(config, /*with_job=*/true);
    RETURN_IF_ERROR(folder->Start(kTenonConfig));
    RETURN_IF_ERROR(folder->Append(text.data(), text.size()));
    RETURN_IF_ERROR(folder->Finish());
  }
  return ToFacts(config);
}

}  // namespace tenon::server
