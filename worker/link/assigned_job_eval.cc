// An assigned evaluation, of labels or of written texts.
#include <utility>

#include "common/formats/status.h"
#include "worker/link/assigned_job.h"
#include "worker/link/convert.h"
#include "worker/link/convert_seq2seq.h"
#include "worker/link/convert_spans.h"

namespace tenon::link {

absl::Status AssignedJob::StartEval() {
  const internal::v1::EvalWork& work = assignment_.eval();
  ASSIGN_OR_RETURN(const formats::Dataset dataset, ReadData(work.dataset()));
  for (const internal::v1::AdapterRef& adapter : work.adapters()) {
    if (!adapter.digest().empty()) parts_.adapters->Remember(adapter);
  }
  RETURN_IF_ERROR(work.has_seq2seq() ? StartSeq2Seq(dataset) : StartClassification(dataset));
  if (stopping_) parts_.runtime->CancelJob(runtime_id());
  return absl::OkStatus();
}

std::function<void(int64_t done, int64_t total)> AssignedJob::RowProgress() {
  return [self = shared_from_this()](int64_t done, int64_t total) {
    absl::MutexLock lock(&self->mutex_);
    auto progress = self->meter_.AddRows(done, total, self->parts_.clock->Now());
    if (progress.has_value()) self->reporter_.Progress(*std::move(progress));
  };
}

absl::Status AssignedJob::StartClassification(const formats::Dataset& dataset) {
  const internal::v1::EvalWork& work = assignment_.eval();
  const bool spans = dataset.kind == formats::DatasetKind::kTags || dataset.kind == formats::DatasetKind::kAnswers;
  if (!spans && dataset.kind != formats::DatasetKind::kClassification &&
      dataset.kind != formats::DatasetKind::kRegression) {
    return TenonError(Reason::kDatasetInvalid, "the data set has no rows of text and label, tags or answers");
  }
  runtime::EvalJob job{.id = runtime_id(), .base_digest = assignment_.base_digest()};
  job.max_input_tokens = work.max_input_tokens();
  for (const internal::v1::AdapterRef& adapter : work.adapters()) job.adapter_digests.push_back(adapter.digest());
  for (const formats::ClassificationRow& row : dataset.classification) {
    job.rows.push_back({.text = row.text, .text_pair = row.text_pair, .values = row.values});
    job.row_labels.push_back(row.labels);
  }
  job.words = dataset.tags;
  job.questions = ToQuestions(dataset);
  job.answers = ToAnswerOptions(work.answers());
  runtime::EvalCallbacks callbacks;
  callbacks.progress = RowProgress();
  callbacks.done = [self = shared_from_this()](const auto& scores) { self->OnEvaluated(scores); };
  return parts_.runtime->StartEvaluation(std::move(job), std::move(callbacks));
}

absl::Status AssignedJob::StartSeq2Seq(const formats::Dataset& dataset) {
  ASSIGN_OR_RETURN(runtime::Seq2SeqEvalJob job, ToSeq2SeqEvalJob(assignment_.eval(), dataset));
  job.id = runtime_id();
  job.base_digest = assignment_.base_digest();
  runtime::Seq2SeqEvalCallbacks callbacks;
  callbacks.progress = RowProgress();
  callbacks.done = [self = shared_from_this()](const auto& scores) { self->OnMeasured(scores); };
  return parts_.runtime->StartSeq2SeqEvaluation(std::move(job), std::move(callbacks));
}

void AssignedJob::OnEvaluated(
    const absl::StatusOr<std::vector<std::pair<formats::TenonConfig, runtime::HeadScores>>>& scores) {
  internal::v1::ReportJobRequest report;
  if (scores.ok()) {
    internal::v1::EvalOutcome& outcome = *report.mutable_eval_success();
    for (size_t i = 0; i < scores->size(); ++i) {
      *outcome.add_results() = ToEvalResult(assignment_.base_digest(), assignment_.eval().adapters(i).digest(),
                                            (*scores)[i].first, (*scores)[i].second);
    }
  }
  End(scores.status(), std::move(report));
}

void AssignedJob::OnMeasured(const absl::StatusOr<std::vector<engine::Seq2SeqScores>>& scores) {
  internal::v1::ReportJobRequest report;
  if (scores.ok()) {
    internal::v1::EvalOutcome& outcome = *report.mutable_eval_success();
    const internal::v1::EvalWork& work = assignment_.eval();
    for (size_t i = 0; i < scores->size(); ++i) {
      *outcome.add_results() = ToEvalResult(assignment_.base_digest(), work.adapters(static_cast<int>(i)).digest(),
                                            work.seq2seq().labels(), (*scores)[i]);
    }
  }
  End(scores.status(), std::move(report));
}

}  // namespace tenon::link
