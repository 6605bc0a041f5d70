#include "worker/link/assigned_job.h"

#include <spdlog/spdlog.h>

#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/ids.h"
#include "common/status_proto.h"
#include "worker/link/convert.h"
#include "worker/link/convert_seq2seq.h"
#include "worker/link/retry.h"

namespace tenon::link {
namespace fs = std::filesystem;
namespace {

// Points of the training loss in a job's history, all told.
constexpr int64_t kTrainPoints = 50;

}  // namespace

AssignedJob::AssignedJob(internal::v1::JobAssignment assignment, const JobRunner::Parts& parts,
                         std::function<void()> ended)
    : assignment_(std::move(assignment)),
      parts_(parts),
      ended_(std::move(ended)),
      reporter_(
          {parts.session, assignment_.job(), assignment_.term()},
          [this](const internal::v1::ReportJobRequest& report) { return parts_.server->Report(report); },
          [this] { Drop(); }) {}

std::string AssignedJob::runtime_id() const { return absl::StrCat(name(), "#", term()); }

void AssignedJob::Start() {
  Phase(v1::JOB_PHASE_LOADING);
  absl::Status status = TenonError(Reason::kInternal, "the assignment has no work");
  if (assignment_.has_finetune()) status = StartFinetune();
  if (assignment_.has_eval()) status = StartEval();
  if (!status.ok()) End(status, {});
}

void AssignedJob::Cancel() {
  stopping_ = true;
  parts_.runtime->CancelJob(runtime_id());
}

void AssignedJob::Drop() {
  reporter_.Drop();
  Cancel();
}

void AssignedJob::Stop() {
  Drop();
  reporter_.Stop();
}

void AssignedJob::Phase(v1::JobPhase phase) {
  v1::JobProgress progress;
  progress.set_phase(phase);
  reporter_.Progress(std::move(progress));
}

absl::Status AssignedJob::StartFinetune() {
  const internal::v1::FinetuneWork& work = assignment_.finetune();
  ASSIGN_OR_RETURN(const formats::Dataset train, ReadData(work.train()));
  runtime::TrainJob job{.id = runtime_id(), .name = name(), .base_digest = assignment_.base_digest()};
  ASSIGN_OR_RETURN(job.options, ToTrainOptions(work.spec(), train.row_count()));
  RETURN_IF_ERROR(FillData(train, job));
  if (work.has_resume()) {
    fs::path folder;
    RETURN_IF_ERROR(Restore(work.resume(), &folder));
    job.checkpoint = std::move(folder);
  }
  {
    absl::MutexLock lock(&mutex_);
    record_.Start(parts_.clock->Now());
  }
  const auto self = shared_from_this();
  runtime::TrainCallbacks callbacks;
  callbacks.update = [self](const engine::TrainUpdate& update) { self->OnUpdate(update); };
  callbacks.notice = [self](const std::string& message) { self->OnNotice(message); };
  callbacks.checkpoint = [self](int64_t step, const fs::path& folder) { return self->PublishCheckpoint(step, folder); };
  callbacks.done = [self](const absl::StatusOr<fs::path>& folder) { self->OnTrained(folder); };
  RETURN_IF_ERROR(parts_.runtime->StartTraining(std::move(job), std::move(callbacks)));
  if (stopping_) parts_.runtime->CancelJob(runtime_id());  // it came while the runtime did not know the job
  return absl::OkStatus();
}

// Brings a checkpoint to a folder of this run; our own record is taken out of it.
absl::Status AssignedJob::Restore(const internal::v1::Checkpoint& checkpoint, fs::path* folder) {
  restored_ = parts_.scratch / RandomId();
  RETURN_IF_ERROR(Retry(reporter_.dropped(), [&] {
    std::error_code ignored;
    fs::remove_all(restored_, ignored);
    return parts_.cache->FillFolder(restored_, checkpoint.files());
  }));
  const fs::path record = restored_ / kRunRecordFile;
  std::ifstream in(record, std::ios::binary);
  if (in.is_open()) {
    ASSIGN_OR_RETURN(RunRecord earlier, RunRecord::FromJson({std::istreambuf_iterator<char>(in), {}}));
    std::error_code ignored;
    fs::remove(record, ignored);
    absl::MutexLock lock(&mutex_);
    record_ = std::move(earlier);
  }
  spdlog::info("job {}: goes on behind step {}", name(), checkpoint.step());
  *folder = restored_;
  return absl::OkStatus();
}

void AssignedJob::OnNotice(const std::string& message) {
  spdlog::warn("job {}: {}", name(), message);
  internal::v1::ReportJobRequest report;
  report.mutable_notice()->set_severity(v1::JobEvent::Notice::SEVERITY_WARNING);
  report.mutable_notice()->set_message(message);
  reporter_.Post(std::move(report));
}

// On the device thread: nothing here waits.
void AssignedJob::OnUpdate(const engine::TrainUpdate& update) {
  const absl::Time now = parts_.clock->Now();
  absl::MutexLock lock(&mutex_);
  if (const auto* step = std::get_if<engine::TrainProgress>(&update)) {
    if (parts_.on_train_step) parts_.on_train_step();
    auto progress = meter_.Add(*step, now);
    if (progress.has_value()) reporter_.Progress(*std::move(progress));
    const int64_t every = std::max<int64_t>(1, step->total_steps / kTrainPoints);
    if (step->step % every != 0 && step->step != step->total_steps) return;
    internal::v1::ReportJobRequest report;
    *report.mutable_metrics() =
        ToMetricPoint(step->step, "train", {{"loss", step->loss}, {"learning_rate", step->learning_rate}});
    reporter_.Post(std::move(report));
  } else if (const auto* evaluation = std::get_if<engine::TrainEvaluation>(&update)) {
    record_.Add(*evaluation);
    internal::v1::ReportJobRequest report;
    *report.mutable_metrics() = ToMetricPoint(evaluation->step, evaluation->kind, evaluation->metrics);
    reporter_.Post(std::move(report));
  } else if (const auto* done = std::get_if<engine::TrainDone>(&update)) {
    trained_ = *done;
  }
}

absl::Status AssignedJob::PublishFiles(const fs::path& folder,
                                       google::protobuf::RepeatedPtrField<v1::FileEntry>* entries) {
  ASSIGN_OR_RETURN(const std::vector<LocalFile> files, ListFiles(folder));
  // Room may take hours to come: a job that is to stop does not wait for it.
  const auto may_pass = [this](const absl::Status& status) {
    return IsTransient(status) || (IsDiskFull(status) && !stopping_);
  };
  for (const LocalFile& file : files) {
    const absl::Status status = Retry(
        reporter_.dropped(), [&] { return parts_.server->Publish(name(), term(), file); }, may_pass);
    if (IsDiskFull(status)) return TenonError(Reason::kCancelled, "stopped while the server's disk was full");
    RETURN_IF_ERROR(status);
    *entries->Add() = file.entry;
  }
  return absl::OkStatus();
}

absl::Status AssignedJob::PublishCheckpoint(int64_t step, const fs::path& folder) {
  std::string record;
  {
    absl::MutexLock lock(&mutex_);
    record = record_.ToJson(parts_.clock->Now());
  }
  std::ofstream out(folder / kRunRecordFile, std::ios::binary);
  out << record;
  out.close();
  if (!out) return TenonError(Reason::kDiskFull, "the worker cannot write a checkpoint");
  internal::v1::ReportJobRequest report;
  report.mutable_checkpoint()->set_step(step);
  RETURN_IF_ERROR(PublishFiles(folder, report.mutable_checkpoint()->mutable_files()));
  return reporter_.PostAndWait(std::move(report));
}

absl::StatusOr<internal::v1::FinetuneOutcome> AssignedJob::PublishAdapter(const fs::path& folder) {
  Phase(v1::JOB_PHASE_PUBLISHING);
  internal::v1::FinetuneOutcome outcome;
  const v1::FinetuneJob& spec = assignment_.finetune().spec();
  const bool keeps_template = spec.task() == v1::TASK_SEQ2SEQ && spec.method() != v1::METHOD_FULL;
  if (keeps_template && spec.has_text_template()) RETURN_IF_ERROR(AddTemplate(folder, spec.text_template()));
  RETURN_IF_ERROR(PublishFiles(folder, outcome.mutable_files()));
  outcome.mutable_labels()->Add(labels_.begin(), labels_.end());
  absl::MutexLock lock(&mutex_);
  v1::FinetuneResult& result = *outcome.mutable_result();
  result.set_best_step(trained_.best_step);
  result.set_trainable_parameters(trained_.trainable_parameters);
  result.set_total_steps(trained_.total_steps);
  result.set_trained_tokens(trained_.trained_tokens);
  result.set_train_seconds(record_.Seconds(parts_.clock->Now()));
  *result.mutable_untrained() = ToMetricPoint(0, "", record_.untrained()).metrics();
  *result.mutable_best() = ToMetricPoint(0, "", record_.best()).metrics();
  *result.mutable_head_baseline() = ToMetricPoint(0, "", record_.head_baseline()).metrics();
  return outcome;
}

void AssignedJob::OnTrained(const absl::StatusOr<fs::path>& folder) {
  internal::v1::ReportJobRequest report;
  absl::Status status = folder.status();
  if (status.ok()) {
    absl::StatusOr<internal::v1::FinetuneOutcome> outcome = PublishAdapter(*folder);
    status = outcome.status();
    if (outcome.ok()) *report.mutable_finetune_success() = *std::move(outcome);
  }
  End(status, std::move(report));
}

void AssignedJob::End(const absl::Status& status, internal::v1::ReportJobRequest success) {
  absl::Status result = status;
  if (result.ok()) {
    result = reporter_.PostAndWait(std::move(success));
    spdlog::info("job {}: finished: {}", name(), result.ok() ? "succeeded" : std::string(result.message()));
  }
  if (!result.ok() && !reporter_.dropped().HasBeenNotified()) {
    internal::v1::ReportJobRequest report;
    if (stopping_ && result.code() == absl::StatusCode::kCancelled) {
      report.mutable_stopped();
      spdlog::info("job {}: stopped", name());
    } else {
      *report.mutable_failure() = ToErrorProto(result);
      spdlog::warn("job {}: failed: {}", name(), std::string(result.message()));
    }
    reporter_.PostAndWait(std::move(report)).IgnoreError();
  }
  std::error_code ignored;
  if (!restored_.empty()) fs::remove_all(restored_, ignored);
  ended_();
}

}  // namespace tenon::link
