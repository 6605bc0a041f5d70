#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/formats/adapter_config.h"
#include "common/formats/encoder_family.h"
#include "common/formats/json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr char kFile[] = "tenon.json";
constexpr int64_t kMaxTokens = 1 << 20;
constexpr size_t kMaxLabels = 10'000;

const char* PoolingName(Pooling pooling) {
  switch (pooling) {
    case Pooling::kMean:
      return "mean";
    case Pooling::kCls:
      return "cls";
    case Pooling::kMax:
      return "max";
  }
  return "";
}

Pooling ReadPooling(JsonFields& fields) {
  const std::string name = fields.String("pooling", "mean");
  for (const Pooling pooling : {Pooling::kMean, Pooling::kCls, Pooling::kMax}) {
    if (name == PoolingName(pooling)) return pooling;
  }
  fields.Fail("pooling", absl::StrCat("is \"", name, "\"; it must be mean, cls or max"));
  return Pooling::kMean;
}

// Whether adapters for the task bring a head of their own.
bool HasHead(const std::string& task) { return task == TaskOfHead(HeadOfTask(task)); }

void CheckLabels(const TenonConfig& config, JsonFields& fields) {
  if (config.labels.size() > kMaxLabels) fields.Fail("labels", absl::StrCat("has more than ", kMaxLabels, " entries"));
  std::set<std::string> seen;
  for (const std::string& label : config.labels) {
    if (!seen.insert(label).second) fields.Fail("labels", absl::StrCat("has \"", label, "\" twice"));
  }
  if (HasHead(config.task) && config.labels.empty()) {
    fields.Fail("labels", absl::StrCat("is missing; ", config.task, " needs it"));
  }
  if (config.task == "question_answering" && config.labels != AnswerLabels()) {
    fields.Fail("labels", "must be start and end; question_answering has no others");
  }
  if (config.multi_label && HasHead(config.task) && HeadOfTask(config.task) != HeadKind::kSequence) {
    fields.Fail("multi_label", "is for task sequence_classification");
  }
}

// Absent in files of other tasks, and of adapters trained elsewhere.
std::optional<TextTemplate> ReadTemplate(const nlohmann::json& file, JsonFields& fields) {
  const auto it = file.find("text_template");
  if (it == file.end() || it->is_null()) return std::nullopt;
  if (!it->is_object()) {
    fields.Fail("text_template", "must be an object");
    return std::nullopt;
  }
  JsonFields sides(*it, absl::StrCat(kFile, ": text_template"), Reason::kAdapterInvalid);
  for (const auto& [key, value] : it->items()) {
    if (key != "input" && key != "target") sides.Unsupported(key, "is not a key of a template");
  }
  TextTemplate text_template{sides.String("input", ""), sides.String("target", "")};
  absl::Status status = sides.status();
  if (status.ok()) status = CheckTemplate(text_template, "text_template");
  if (!status.ok()) fields.Fail("text_template", absl::StrCat("is wrong: ", std::string(status.message())));
  return text_template;
}

std::optional<SentenceScorer> ReadScorer(const nlohmann::json& file, const TenonConfig& config, JsonFields& fields) {
  constexpr char kKey[] = "sentence_scorer";
  const auto it = file.find(kKey);
  if (it == file.end() || it->is_null()) return std::nullopt;
  if (!it->is_object()) {
    fields.Fail(kKey, "must be an object");
    return std::nullopt;
  }
  if (config.task != "sequence_classification" || config.labels.size() != 2 || config.multi_label ||
      config.regression) {
    fields.Fail(kKey, "is for task sequence_classification with two labels, of which a text has one");
  }
  JsonFields own(*it, absl::StrCat(kFile, ": ", kKey), Reason::kAdapterInvalid);
  for (const auto& [key, value] : it->items()) {
    if (key != "neighbours") own.Unsupported(key, "is not a key of a scorer");
  }
  SentenceScorer scorer;
  scorer.neighbours = own.Int("neighbours", 0, 0, SentenceScorer::kMostNeighbours);
  if (!own.status().ok()) fields.Fail(kKey, absl::StrCat("is wrong: ", std::string(own.status().message())));
  return scorer;
}

// Of classes `multi_label` says what the problem is; only a regression has the key, which must not contradict it.
bool ReadRegression(const TenonConfig& config, JsonFields& fields) {
  const std::string problem = fields.String("problem_type", "");
  if (problem.empty()) return false;
  if (problem != "regression") {
    fields.Unsupported("problem_type", absl::StrCat("\"", problem, "\" is not supported; regression is"));
  } else if (config.task != "sequence_classification" || config.multi_label) {
    fields.Fail("problem_type", "is for task sequence_classification, without multi_label");
  }
  return problem == "regression";
}

bool IsSha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace

absl::StatusOr<TenonConfig> ParseTenonConfig(const std::string& text) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonObject(text, kFile, Reason::kAdapterInvalid));
  JsonFields fields(json, kFile, Reason::kAdapterInvalid);
  static const auto* known =
      new std::set<std::string>{"base_digest",     "crf",         "job",          "labels",  "max_input_tokens",
                                "method",          "multi_label", "normalize",    "pooling", "problem_type",
                                "sentence_scorer", "task",        "text_template"};
  for (const auto& [key, value] : json.items()) {
    if (!known->contains(key)) fields.Unsupported(key, "is not a key of this file");
  }
  TenonConfig config;
  config.task = fields.String("task", "");
  if (!HasHead(config.task) && config.task != "feature_extraction" && config.task != "seq2seq" &&
      config.task != "causal_lm") {
    fields.Unsupported("task", absl::StrCat("\"", config.task,
                                            "\" is not supported; sequence_classification, token_classification, "
                                            "question_answering, feature_extraction, seq2seq and causal_lm are"));
  }
  config.method = fields.String("method", "");
  static const auto* methods = new std::set<std::string>{"bottleneck", "head", "lora", "prompt_tuning"};
  if (!methods->contains(config.method)) {
    fields.Unsupported(
        "method", absl::StrCat("\"", config.method, "\" is not supported; ", absl::StrJoin(*methods, ", "), " are"));
  }
  config.labels = fields.Strings("labels");
  config.multi_label = fields.Bool("multi_label", false);
  config.regression = ReadRegression(config, fields);
  config.crf = fields.Bool("crf", false);
  if (config.crf && config.task != "token_classification") fields.Fail("crf", "is for task token_classification");
  CheckLabels(config, fields);
  config.base_digest = fields.String("base_digest", "");
  if (!config.base_digest.empty() && !IsSha256(config.base_digest)) {
    fields.Fail("base_digest", "must be 64 lower-case hex digits");
  }
  config.pooling = ReadPooling(fields);
  config.normalize = fields.Bool("normalize", false);
  config.max_input_tokens = fields.Int("max_input_tokens", 0, 0, kMaxTokens);
  config.text_template = ReadTemplate(json, fields);
  if (config.text_template.has_value() && config.task != "seq2seq") fields.Fail("text_template", "is for task seq2seq");
  config.sentence_scorer = ReadScorer(json, config, fields);
  config.job = fields.String("job", "");
  RETURN_IF_ERROR(fields.status());
  return config;
}

std::string WriteTenonConfig(const TenonConfig& config, bool with_job) {
  nlohmann::json json = {
      {"task", config.task},
      {"method", config.method},
      {"labels", config.labels},
      {"multi_label", config.multi_label},
      {"base_digest", config.base_digest},
      {"pooling", PoolingName(config.pooling)},
      {"normalize", config.normalize},
      {"max_input_tokens", config.max_input_tokens},
  };
  // Only where there is one: the digests of adapters without stay what they were.
  if (config.text_template.has_value()) {
    json["text_template"] = {{"input", config.text_template->input}, {"target", config.text_template->target}};
  }
  if (config.crf) json["crf"] = true;
  if (config.regression) json["problem_type"] = "regression";
  if (config.sentence_scorer.has_value())
    json["sentence_scorer"] = {{"neighbours", config.sentence_scorer->neighbours}};
  if (with_job && !config.job.empty()) json["job"] = config.job;
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace tenon::formats
