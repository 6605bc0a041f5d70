// Jobs in the store: kinds `finetune_job` and `eval_job`, their histories as event streams named like the job.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/jobs/job.h"
#include "server/store/store.h"

namespace tenon::server {

inline constexpr char kFinetuneKind[] = "finetune_job";
inline constexpr char kEvalKind[] = "eval_job";

// Kind and id of `finetuneJobs/{id}` or `evalJobs/{id}`. NOT_FOUND names the job.
absl::StatusOr<std::pair<std::string, std::string>> SplitJobName(const std::string& name);

// NOT_FOUND names the job.
absl::StatusOr<JobRecord> LoadJob(Snapshot& snapshot, const std::string& tenant, const std::string& name);
absl::StatusOr<JobRecord> ParseJob(const Record& record);

// A new job with its first events. ALREADY_EXISTS names the id.
absl::Status InsertJob(Transaction& transaction, const JobRecord& job, const JobEvents& events);
// A changed job and the events of the change, while the stored term is still `loaded_term`: STALE_TERM.
absl::Status SaveJob(Transaction& transaction, const JobRecord& job, const JobEvents& events, int64_t loaded_term);

// Behind `after`, oldest first, at most `limit`.
absl::StatusOr<JobEvents> LoadJobEvents(Snapshot& snapshot, const std::string& tenant, const std::string& name,
                                        int64_t after, int limit);
// Every job in a state, of every tenant.
absl::StatusOr<std::vector<JobRecord>> LoadJobsInState(Snapshot& snapshot, v1::JobState state);
// Jobs of this name, of every tenant.
absl::StatusOr<std::vector<JobRecord>> LoadJobsNamed(Snapshot& snapshot, const std::string& name);

}  // namespace tenon::server
