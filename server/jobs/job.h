// The life of a job, as pure functions over its record. No clock, no store, no threads.
//
//   VALIDATING -> QUEUED -> RUNNING -> SUCCEEDED | FAILED | CANCELLED
//                   ^__________|  worker lost or handed back
//
// Every claim starts a new term; whatever a worker says is checked against state and term. A legal change grows
// `version` and returns the events to append to the history, from which the state can be told again (Replay). An
// illegal one returns an error and changes nothing: STALE_TERM from a worker whose term is over, INTERNAL for a mistake
// of ours.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tenon/internal/v1/job_record.pb.h"

namespace tenon::server {

using internal::v1::JobRecord;
using JobEvents = std::vector<v1::JobEvent>;

// Fields that finetune and eval jobs share.
std::string JobName(const JobRecord& job);  // `finetuneJobs/{id}`
v1::JobState JobStateOf(const JobRecord& job);
v1::JobPhase JobPhaseOf(const JobRecord& job);
int64_t JobTerm(const JobRecord& job);
bool IsFinal(v1::JobState state);
// Runs inside the server, on no worker.
bool IsRetrievalEval(const JobRecord& job);

// A new job, in VALIDATING.
JobEvents StartJob(JobRecord& job, absl::Time now);
absl::StatusOr<JobEvents> QueueJob(JobRecord& job, absl::Time now);
// QUEUED -> RUNNING under term + 1.
absl::StatusOr<JobEvents> ClaimJob(JobRecord& job, const std::string& session, const std::string& worker,
                                   absl::Time now);

// What a worker reports under `report.term`: progress counts for its phase alone. The same report twice is no error.
absl::StatusOr<JobEvents> ApplyReport(JobRecord& job, const internal::v1::ReportJobRequest& report, absl::Time now);
// The same for a success whose outcome cannot be kept: FAILED with `why`.
absl::StatusOr<JobEvents> RefuseSuccess(JobRecord& job, const internal::v1::ReportJobRequest& report,
                                        const absl::Status& why, absl::Time now);
// STALE_TERM unless the job runs under `term`.
absl::Status CheckJobTerm(const JobRecord& job, int64_t term);

// The worker of `term` is gone: CANCELLED when that was asked for, FAILED (JOB_LOST) at the `max_losses`-th loss, else
// QUEUED.
absl::StatusOr<JobEvents> LoseJob(JobRecord& job, int64_t term, int max_losses, absl::Time now);
// Takes the claim of `term` back, of which its worker never heard: QUEUED and no loss, or CANCELLED when that was asked
// for.
absl::StatusOr<JobEvents> UnclaimJob(JobRecord& job, int64_t term, absl::Time now);
// CANCELLED at once unless it runs; then its worker is to be told. A final job stays as it is.
JobEvents RequestCancel(JobRecord& job, absl::Time now);
// Adds the resource that a success made (set by whoever stored it).
void SetAdapterRevision(JobRecord& job, const std::string& revision_name);
void SetBase(JobRecord& job, const std::string& base_name);

// State that a history ends in.
v1::JobState Replay(const JobEvents& history);

}  // namespace tenon::server
