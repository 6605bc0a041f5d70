#include "server/jobs/span_request.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/formats/bio.h"
#include "common/formats/encoder_family.h"
#include "common/formats/status.h"

namespace tenon::server {
namespace {

constexpr int kMaxTags = 10'000;
constexpr size_t kMaxTagBytes = 256;
constexpr int32_t kMaxStride = 1 << 20;

absl::Status CheckTags(const v1::TokenClassificationOptions& options, const std::string& path) {
  const auto refuse = [&](int index, const std::string& what) {
    const std::string field = absl::StrCat(path, ".labels[", index, "]");
    return TenonError(Reason::kOptionInvalid, absl::StrCat(field, " ", what), field);
  };
  if (options.labels_size() == 1 || options.labels_size() > kMaxTags) {
    return TenonError(
        Reason::kOptionInvalid,
        absl::StrCat(path, ".labels has ", options.labels_size(), " tags; it must have from 2 to ", kMaxTags),
        path + ".labels");
  }
  std::set<std::string> seen;
  for (int i = 0; i < options.labels_size(); ++i) {
    const std::string& tag = options.labels(i);
    if (tag.size() > kMaxTagBytes) return refuse(i, absl::StrCat("is longer than ", kMaxTagBytes, " bytes"));
    // Behind a word of its own type any of the three forms may stand.
    const std::string fault = formats::TagFault(tag, tag);
    if (!fault.empty()) return refuse(i, absl::StrCat("\"", tag, "\" ", fault));
    if (!seen.insert(tag).second) return refuse(i, absl::StrCat("\"", tag, "\" is there twice"));
  }
  return absl::OkStatus();
}

absl::Status CheckRows(const v1::Dataset& dataset, v1::Task task, const std::string& field) {
  const bool tags = task == v1::TASK_TOKEN_CLASSIFICATION;
  if (dataset.kind() != (tags ? v1::DATASET_KIND_TAGS : v1::DATASET_KIND_ANSWERS)) {
    return TenonError(
        Reason::kFieldInvalid,
        absl::StrCat(dataset.name(), " holds no rows of ", tags ? "words and tags" : "questions and answers"),
        "finetune_job." + field);
  }
  if (dataset.row_count() > 0) return absl::OkStatus();
  return TenonError(Reason::kFieldInvalid, dataset.name() + " has no rows", "finetune_job." + field);
}

}  // namespace

absl::Status NormalizeSpans(const v1::FinetuneJob& requested, v1::FinetuneJob& job) {
  const bool tags = job.task() == v1::TASK_TOKEN_CLASSIFICATION, answers = job.task() == v1::TASK_QUESTION_ANSWERING;
  const auto foreign = [](const std::string& field, const char* task) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat(field, " is for ", task), field);
  };
  const std::string tag_path = "finetune_job.token_classification", answer_path = "finetune_job.question_answering";
  if (requested.has_token_classification() && !tags) return foreign(tag_path, "TASK_TOKEN_CLASSIFICATION");
  if (requested.has_question_answering() && !answers) return foreign(answer_path, "TASK_QUESTION_ANSWERING");
  if (!tags && !answers) return absl::OkStatus();
  for (const char* option : {"multi_label", "problem_type"}) {
    const auto* field = v1::TrainingOptions::descriptor()->FindFieldByName(option);
    if (!job.training().GetReflection()->HasField(job.training(), field)) continue;
    return foreign(absl::StrCat("finetune_job.training.", option), "TASK_SEQUENCE_CLASSIFICATION");
  }
  if (tags) {
    v1::TokenClassificationOptions& options = *job.mutable_token_classification();
    options = requested.token_classification();
    RETURN_IF_ERROR(CheckTags(options, tag_path));
    if (!options.has_crf()) options.set_crf(false);
    if (!options.crf() || job.method() != v1::METHOD_FULL) return absl::OkStatus();
    return TenonError(Reason::kUnsupported,
                      "crf with METHOD_FULL: the base that it makes could not say that its tags form a chain",
                      tag_path + ".crf");
  }
  v1::QuestionAnsweringOptions& options = *job.mutable_question_answering();
  options = requested.question_answering();
  if (!options.has_doc_stride()) options.set_doc_stride(128);
  if (options.doc_stride() >= 1 && options.doc_stride() <= kMaxStride) return absl::OkStatus();
  return TenonError(Reason::kOptionInvalid,
                    absl::StrCat("doc_stride is ", options.doc_stride(), "; it must be from 1 to ", kMaxStride),
                    answer_path + ".doc_stride");
}

absl::Status CompleteSpans(v1::FinetuneJob& job, const v1::Dataset& train, const std::optional<v1::Dataset>& validation,
                           bool* unknown_labels, bool* in_train) {
  RETURN_IF_ERROR(CheckRows(train, job.task(), "train_dataset"));
  if (validation.has_value()) RETURN_IF_ERROR(CheckRows(*validation, job.task(), "validation_dataset"));
  job.clear_labels();
  if (job.task() == v1::TASK_QUESTION_ANSWERING) {
    for (const std::string& label : formats::AnswerLabels()) job.add_labels(label);
    return absl::OkStatus();
  }
  const auto& given = job.token_classification().labels();
  *job.mutable_labels() = given.empty() ? train.labels() : given;
  if (job.labels_size() < 2) {
    return TenonError(Reason::kFieldInvalid,
                      absl::StrCat(train.name(), " has ", job.labels_size(), " tag(s); training needs at least 2"),
                      "finetune_job.train_dataset");
  }
  const std::set<std::string> known(job.labels().begin(), job.labels().end());
  for (const std::string& tag : train.labels()) *in_train |= !known.contains(tag);
  *unknown_labels = *in_train;
  if (!validation.has_value()) return absl::OkStatus();
  for (const std::string& tag : validation->labels()) *unknown_labels |= !known.contains(tag);
  return absl::OkStatus();
}

}  // namespace tenon::server
