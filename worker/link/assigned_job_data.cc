// The data of an assigned job, as its task reads it.
#include <optional>
#include <utility>
#include <vector>

#include "common/dataset_kind.h"
#include "common/formats/status.h"
#include "common/tuning_options.h"
#include "worker/link/assigned_job.h"
#include "worker/link/convert.h"
#include "worker/link/convert_spans.h"
#include "worker/link/retry.h"
#include "worker/link/text_pairs.h"

namespace tenon::link {

absl::StatusOr<formats::Dataset> AssignedJob::ReadData(const internal::v1::DatasetRef& ref) {
  if (stopping_) return TenonError(Reason::kCancelled, "the job was cancelled");
  ASSIGN_OR_RETURN(const formats::DatasetFormat format, ToFormat(ref.format()));
  std::string bytes;
  RETURN_IF_ERROR(Retry(reporter_.dropped(), [&]() -> absl::Status {
    ASSIGN_OR_RETURN(bytes, parts_.cache->Read(ref.sha256()));
    return absl::OkStatus();
  }));
  return formats::ReadDataset(bytes, format, {}, RowKind(ref.kind()));
}

absl::Status AssignedJob::FillData(const formats::Dataset& train, runtime::TrainJob& job) {
  const internal::v1::FinetuneWork& work = assignment_.finetune();
  std::optional<formats::Dataset> validation;
  if (work.has_validation()) {
    ASSIGN_OR_RETURN(validation, ReadData(work.validation()));
  }
  const v1::Task task = work.spec().task();
  return TakesTemplate(task) ? FillPairs(train, validation, job)
         : FindsSpans(task)  ? FillSpans(train, validation, job)
                             : FillLabelled(train, validation, job.data);
}

absl::Status AssignedJob::FillSpans(const formats::Dataset& train, const std::optional<formats::Dataset>& validation,
                                    runtime::TrainJob& job) {
  const v1::FinetuneJob& spec = assignment_.finetune().spec();
  labels_.assign(spec.labels().begin(), spec.labels().end());
  if (labels_.empty()) labels_ = train.labels;  // too many for an assignment
  job.data.labels = labels_;
  const bool tags = spec.task() == v1::TASK_TOKEN_CLASSIFICATION;
  const formats::DatasetKind kind = tags ? formats::DatasetKind::kTags : formats::DatasetKind::kAnswers;
  if (train.kind != kind || (validation.has_value() && validation->kind != kind)) {
    return TenonError(Reason::kDatasetInvalid, tags ? "the data set has no rows of words and tags"
                                                    : "the data set has no rows of questions and answers");
  }
  if (tags) {
    ASSIGN_OR_RETURN(job.data.train_words, ToTaggedWords(train, labels_));
    if (!validation.has_value()) return absl::OkStatus();
    ASSIGN_OR_RETURN(job.data.validation_words, ToTaggedWords(*validation, labels_));
    return absl::OkStatus();
  }
  job.data.train_questions = ToQuestions(train);
  if (validation.has_value()) job.data.validation_questions = ToQuestions(*validation);
  job.options_for = [spec](int64_t rows) { return ToTrainOptions(spec, rows); };
  return absl::OkStatus();
}

absl::Status AssignedJob::FillLabelled(const formats::Dataset& train, const std::optional<formats::Dataset>& validation,
                                       engine::TrainData& data) {
  const v1::FinetuneJob& spec = assignment_.finetune().spec();
  labels_.assign(spec.labels().begin(), spec.labels().end());
  if (labels_.empty()) labels_ = train.labels;
  data.labels = labels_;
  data.regression = train.kind == formats::DatasetKind::kRegression;
  data.multi_label = spec.training().has_multi_label() ? spec.training().multi_label() : train.multi_label;
  ASSIGN_OR_RETURN(data.train, ToRows(train, labels_));
  if (!validation.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(data.validation, ToRows(*validation, labels_));
  return absl::OkStatus();
}

absl::Status AssignedJob::FillPairs(const formats::Dataset& train, const std::optional<formats::Dataset>& validation,
                                    runtime::TrainJob& job) {
  const v1::FinetuneJob& spec = assignment_.finetune().spec();
  engine::ScorerData pairs;
  ASSIGN_OR_RETURN(pairs.train, ToTextPairs(train, spec.text_template()));
  if (validation.has_value()) {
    auto made = ToTextPairs(*validation, spec.text_template());
    if (!made.ok()) return Annotate(made.status(), "validation ");
    pairs.validation = *std::move(made);
  }
  if (spec.task() == v1::TASK_SEQ2SEQ) {
    job.data.train_pairs = std::move(pairs.train);
    job.data.validation_pairs = std::move(pairs.validation);
    return absl::OkStatus();
  }
  if (spec.sentence_scorer().has_neighbours()) pairs.scorer.neighbours = spec.sentence_scorer().neighbours();
  labels_ = engine::ScorerLabels();
  job.scorer = std::move(pairs);
  job.options_for = [spec](int64_t rows) { return ToTrainOptions(spec, rows); };
  return absl::OkStatus();
}

}  // namespace tenon::link
