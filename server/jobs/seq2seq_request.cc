#include "server/jobs/seq2seq_request.h"

#include <cstdint>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/formats/answers.h"
#include "common/formats/status.h"
#include "common/formats/text_template.h"
#include "common/generation_options.h"
#include "common/ids.h"

namespace tenon::server {
namespace {

constexpr int kMaxModels = 64;
constexpr int32_t kMaxTokens = 1 << 20;
constexpr int32_t kTargetTokens = 128;
constexpr size_t kMaxLabelBytes = 256;
constexpr int kMaxLabels = 256;  // a result counts every pair of them
// So that an assignment, which holds 64 adapters' files too, fits into one message of the worker link.
constexpr size_t kMaxEvalBytes = 24 << 10;

absl::Status Wrong(Reason reason, const std::string& field, const std::string& what) {
  return TenonError(reason, absl::StrCat(field, " ", what), field);
}

// Both sides are needed: what is trained or measured is the target.
absl::Status CheckSides(const v1::TextTemplate& text_template, const std::string& path) {
  RETURN_IF_ERROR(formats::TextPattern::Parse(text_template.input(), path + ".input").status());
  return formats::TextPattern::Parse(text_template.target(), path + ".target").status();
}

// Names that a template may use. Sets that were stored before they had them are of text and label.
std::vector<std::string> FieldsOf(const v1::Dataset& dataset) {
  if (!dataset.fields().empty()) return {dataset.fields().begin(), dataset.fields().end()};
  if (dataset.kind() != v1::DATASET_KIND_CLASSIFICATION) return {};
  return dataset.multi_label() ? std::vector<std::string>{"text"} : std::vector<std::string>{"label", "text"};
}

absl::Status CheckLabels(const v1::Seq2SeqEval& eval, const std::string& prefix) {
  if (eval.labels_size() > kMaxLabels) {
    return Wrong(Reason::kFieldInvalid, prefix + "labels",
                 absl::StrCat("has ", eval.labels_size(), " entries; at most ", kMaxLabels));
  }
  std::set<std::string> seen;
  for (int i = 0; i < eval.labels_size(); ++i) {
    const std::string field = absl::StrCat(prefix, "labels[", i, "]");
    const std::string& label = eval.labels(i);
    // As what a model wrote is compared with them.
    const std::string compared = formats::NormalizeAnswer(label);
    if (compared.empty()) return Wrong(Reason::kFieldInvalid, field, "is blank");
    if (label.size() > kMaxLabelBytes) {
      return Wrong(Reason::kFieldInvalid, field,
                   absl::StrCat("has ", label.size(), " bytes; at most ", kMaxLabelBytes));
    }
    if (!seen.insert(compared).second) {
      return Wrong(Reason::kFieldInvalid, field,
                   absl::StrCat("\"", label, "\" is there twice: case, outer punctuation and spaces do not count"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckModels(const v1::Seq2SeqEval& eval, const std::string& field) {
  if (eval.models().empty()) return TenonError(Reason::kFieldRequired, "at least one model is required", field);
  if (eval.models_size() > kMaxModels) {
    return Wrong(Reason::kFieldInvalid, field,
                 absl::StrCat("has ", eval.models_size(), " entries; at most ", kMaxModels));
  }
  for (const std::string& model : eval.models()) {
    const absl::Status named = absl::StartsWith(model, "bases/") ? ParseName("bases", model, field).status()
                                                                 : ParseAdapterName(model, field).status();
    RETURN_IF_ERROR(named);
  }
  return absl::OkStatus();
}

absl::Status CheckTokens(int32_t tokens, const std::string& field) {
  if (tokens == 0 || (tokens >= 2 && tokens <= kMaxTokens)) return absl::OkStatus();
  return Wrong(Reason::kFieldInvalid, field,
               absl::StrCat("is ", tokens, "; it must be 2 to ", kMaxTokens, ", or absent"));
}

absl::Status CheckGeneration(const v1::GenerationConfig& config, const std::string& path) {
  RETURN_IF_ERROR(CheckGenerationConfig(config, path));
  if (config.num_return_sequences() > 1) {
    return Wrong(Reason::kFieldInvalid, path + "num_return_sequences",
                 absl::StrCat("is ", config.num_return_sequences(), "; one text is measured for each row"));
  }
  if (!config.return_scores()) return absl::OkStatus();
  return Wrong(Reason::kFieldInvalid, path + "return_scores", "is for Generate: an evaluation shows no texts");
}

}  // namespace

absl::Status NormalizeSeq2Seq(const v1::FinetuneJob& requested, v1::FinetuneJob& job) {
  const std::string path = "finetune_job.text_template";
  v1::TrainingOptions& t = *job.mutable_training();
  const std::string training = "finetune_job.training.";
  if (job.task() != v1::TASK_SEQ2SEQ) {
    if (requested.has_text_template()) return Wrong(Reason::kFieldInvalid, path, "is for TASK_SEQ2SEQ");
    if (!t.has_max_target_tokens()) return absl::OkStatus();
    return TenonError(Reason::kOptionInvalid, "max_target_tokens is for TASK_SEQ2SEQ", training + "max_target_tokens");
  }
  if (job.method() == v1::METHOD_HEAD) {
    return TenonError(Reason::kUnsupported,
                      "METHOD_HEAD trains a classifier on vectors; TASK_SEQ2SEQ takes every other method",
                      "finetune_job.method");
  }
  if (t.multi_label()) {
    return TenonError(Reason::kOptionInvalid, "multi_label is for TASK_SEQUENCE_CLASSIFICATION",
                      training + "multi_label");
  }
  if (!t.has_max_target_tokens()) t.set_max_target_tokens(kTargetTokens);
  v1::TextTemplate& text_template = *job.mutable_text_template();
  if (requested.has_text_template()) text_template = requested.text_template();
  if (text_template.input().empty()) text_template.set_input("{input}");
  if (text_template.target().empty()) text_template.set_target("{target}");
  return CheckSides(text_template, path);
}

absl::Status NormalizeSeq2SeqEval(v1::Seq2SeqEval& eval) {
  const std::string prefix = "eval_job.seq2seq.";
  RETURN_IF_ERROR(CheckModels(eval, prefix + "models"));
  if (eval.dataset().empty()) {
    return TenonError(Reason::kFieldRequired, prefix + "dataset is required", prefix + "dataset");
  }
  ASSIGN_OR_RETURN(const std::string dataset, ParseName("datasets", eval.dataset(), prefix + "dataset"));
  eval.set_dataset("datasets/" + dataset);
  if (eval.has_text_template()) RETURN_IF_ERROR(CheckSides(eval.text_template(), prefix + "text_template"));
  RETURN_IF_ERROR(CheckGeneration(eval.generation(), prefix + "generation."));
  RETURN_IF_ERROR(CheckTokens(eval.max_input_tokens(), prefix + "max_input_tokens"));
  RETURN_IF_ERROR(CheckTokens(eval.max_target_tokens(), prefix + "max_target_tokens"));
  if (eval.max_target_tokens() == 0) eval.set_max_target_tokens(kTargetTokens);
  RETURN_IF_ERROR(CheckLabels(eval, prefix));
  if (!eval.has_use_stemmer()) eval.set_use_stemmer(true);
  if (eval.max_rows() < 0) {
    return Wrong(Reason::kFieldInvalid, prefix + "max_rows",
                 absl::StrCat("is ", eval.max_rows(), "; it must not be negative"));
  }
  v1::Seq2SeqEval sent = eval;
  sent.clear_models();
  if (sent.ByteSizeLong() <= kMaxEvalBytes) return absl::OkStatus();
  return TenonError(Reason::kFieldInvalid,
                    absl::StrCat("template, labels and generation options are larger than ", kMaxEvalBytes, " bytes"),
                    "eval_job.seq2seq");
}

absl::Status CheckTemplateFields(const v1::TextTemplate& text_template, const std::string& path,
                                 const v1::Dataset& dataset) {
  const std::vector<std::string> fields = FieldsOf(dataset);
  absl::Status status;
  for (const auto& [side, text] :
       {std::make_pair("input", text_template.input()), std::make_pair("target", text_template.target())}) {
    ASSIGN_OR_RETURN(const auto pattern, formats::TextPattern::Parse(text, absl::StrCat(path, ".", side)));
    status = pattern.CheckFields(fields);
    if (!status.ok()) break;
  }
  if (status.ok()) return status;
  // A column that broke in one row is the likeliest reason, and the upload said so.
  std::string message = absl::StrCat(std::string(status.message()), " (", dataset.name(), ")");
  if (!dataset.warnings().empty()) absl::StrAppend(&message, "; ", absl::StrJoin(dataset.warnings(), "; "));
  return TenonError(GetReason(status), message, GetField(status));
}

absl::Status CheckTemplateRows(const v1::Dataset& dataset, const std::string& field) {
  if (FieldsOf(dataset).empty()) {
    return TenonError(Reason::kFieldInvalid,
                      absl::StrCat(dataset.name(), " holds no rows for a template: upload it as DATASET_KIND_RECORDS"),
                      field);
  }
  if (dataset.row_count() > 0) return absl::OkStatus();
  return TenonError(Reason::kFieldInvalid, dataset.name() + " has no rows", field);
}

}  // namespace tenon::server
