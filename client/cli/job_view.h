// Jobs as the CLI shows them: followed to their end, as tables, as JSON.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/cli.h"

namespace tenon::cli {

// A job of either kind; exactly one is set.
struct AnyJob {
  v1::FinetuneJob finetune;
  v1::EvalJob eval;
  bool is_eval = false;

  const std::string& name() const { return is_eval ? eval.name() : finetune.name(); }
  v1::JobState state() const { return is_eval ? eval.state() : finetune.state(); }
};

// By `finetuneJobs/{id}`, `evalJobs/{id}`, or `{id}` of either.
absl::StatusOr<AnyJob> GetJob(Cli& cli, const std::string& name);

// What to print while a job is followed.
enum class WatchOutput {
  kProgress,   // on standard error: a live line on a terminal, else a line an event
  kJsonLines,  // every update as one JSON object a line on standard output
};
absl::StatusOr<AnyJob> FollowJob(Cli& cli, const std::string& name, bool is_eval, WatchOutput output);

// Prints the job, whole; its error is the status when it failed or was cancelled.
absl::Status PrintJob(Cli& cli, const AnyJob& job);
// OK unless the job failed or was cancelled.
absl::Status JobStatus(const AnyJob& job);
// What the target of a task's template is: what the model `writes`, or the `summary` that it chooses sentences for.
const char* TargetWord(v1::Task task);
// The job's facts, results, and error as tables.
std::string DescribeJob(const AnyJob& job);

}  // namespace tenon::cli
