#include "server/jobs/seq2seq_request.h"

#include <cstdint>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/answers.h"
#include "common/formats/status.h"
#include "common/generation_options.h"
#include "common/ids.h"
#include "server/jobs/template_request.h"

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
      return Wrong(
          Reason::kFieldInvalid, field,
          absl::StrCat("\"", label,
                       "\" is there twice: case, quotation marks, full stops and spaces around it do not count"));
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

absl::Status NormalizeSeq2Seq(v1::FinetuneJob& job) {
  v1::TrainingOptions& t = *job.mutable_training();
  if (job.task() != v1::TASK_SEQ2SEQ) {
    if (!t.has_max_target_tokens()) return absl::OkStatus();
    return TenonError(Reason::kOptionInvalid, "max_target_tokens is for TASK_SEQ2SEQ",
                      "finetune_job.training.max_target_tokens");
  }
  if (job.method() == v1::METHOD_HEAD) {
    return TenonError(Reason::kUnsupported,
                      "METHOD_HEAD trains a classifier on vectors; TASK_SEQ2SEQ takes every other method",
                      "finetune_job.method");
  }
  if (!t.has_max_target_tokens()) t.set_max_target_tokens(kTargetTokens);
  return absl::OkStatus();
}

absl::Status NormalizeSeq2SeqEval(v1::Seq2SeqEval& eval) {
  const std::string prefix = "eval_job.seq2seq.";
  RETURN_IF_ERROR(CheckModels(eval, prefix + "models"));
  if (eval.dataset().empty()) {
    return TenonError(Reason::kFieldRequired, prefix + "dataset is required", prefix + "dataset");
  }
  ASSIGN_OR_RETURN(const std::string dataset, ParseName("datasets", eval.dataset(), prefix + "dataset"));
  eval.set_dataset("datasets/" + dataset);
  if (eval.has_text_template()) RETURN_IF_ERROR(CheckTemplateSides(eval.text_template(), prefix + "text_template"));
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

}  // namespace tenon::server
