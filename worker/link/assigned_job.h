// One assigned job on this worker, from its data to its last report.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/formats/dataset.h"
#include "worker/link/job_runner.h"
#include "worker/link/progress_meter.h"
#include "worker/link/reporter.h"
#include "worker/link/run_record.h"

namespace tenon::link {

class AssignedJob : public std::enable_shared_from_this<AssignedJob> {
 public:
  // `ended` is called once, after the last report or Drop: from any thread.
  AssignedJob(internal::v1::JobAssignment assignment, const JobRunner::Parts& parts, std::function<void()> ended);

  const std::string& name() const { return assignment_.job(); }
  int64_t term() const { return assignment_.term(); }

  // Fetches what the job needs and gives it to the runtime. Blocks.
  void Start();
  void Cancel();
  void Drop();
  // Drop, and wait until the job calls the runtime no more of itself.
  void Stop();

 private:
  absl::Status StartFinetune();
  // assigned_job_data.cc. The rows of both sets, as the task reads them.
  absl::StatusOr<formats::Dataset> ReadData(const internal::v1::DatasetRef& ref);
  absl::Status FillData(const formats::Dataset& train, runtime::TrainJob& job);
  absl::Status FillLabelled(const formats::Dataset& train, const std::optional<formats::Dataset>& validation,
                            engine::TrainData& data);
  absl::Status FillSpans(const formats::Dataset& train, const std::optional<formats::Dataset>& validation,
                         runtime::TrainJob& job);
  absl::Status FillPairs(const formats::Dataset& train, const std::optional<formats::Dataset>& validation,
                         runtime::TrainJob& job);
  // assigned_job_eval.cc
  absl::Status StartEval();
  absl::Status StartClassification(const formats::Dataset& dataset);
  absl::Status StartSeq2Seq(const formats::Dataset& dataset);
  std::function<void(int64_t done, int64_t total)> RowProgress();
  // assigned_job.cc
  absl::Status Restore(const internal::v1::Checkpoint& checkpoint, std::filesystem::path* folder);
  void OnNotice(const std::string& message);
  void OnUpdate(const engine::TrainUpdate& update);
  absl::Status PublishCheckpoint(int64_t step, const std::filesystem::path& folder);
  void OnTrained(const absl::StatusOr<std::filesystem::path>& folder);
  void OnEvaluated(const absl::StatusOr<std::vector<std::pair<formats::TenonConfig, runtime::HeadScores>>>& scores);
  void OnMeasured(const absl::StatusOr<std::vector<engine::Seq2SeqScores>>& scores);
  absl::StatusOr<internal::v1::FinetuneOutcome> PublishAdapter(const std::filesystem::path& folder);
  absl::Status PublishFiles(const std::filesystem::path& folder,
                            google::protobuf::RepeatedPtrField<v1::FileEntry>* entries);
  void Phase(v1::JobPhase phase);
  // The job's last report.
  void End(const absl::Status& status, internal::v1::ReportJobRequest success);
  std::string runtime_id() const;

  const internal::v1::JobAssignment assignment_;
  const JobRunner::Parts& parts_;
  const std::function<void()> ended_;
  std::atomic<bool> stopping_ = false;  // cancelled or handed back
  std::vector<std::string> labels_;
  std::filesystem::path restored_;  // checkpoint that the run started from; removed at the end

  absl::Mutex mutex_;
  ProgressMeter meter_ ABSL_GUARDED_BY(mutex_);
  RunRecord record_ ABSL_GUARDED_BY(mutex_);
  engine::TrainDone trained_ ABSL_GUARDED_BY(mutex_);
  Reporter reporter_;  // last: its thread calls into the rest
};

}  // namespace tenon::link
