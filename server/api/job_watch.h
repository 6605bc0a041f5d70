// The watch streams of both kinds of jobs.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "server/api/guarded.h"
#include "server/app/job_scheduler.h"

namespace tenon::server {

// Calls `step` at the start and whenever the job may have changed, until it returns true (all is told), an error, the
// client is gone, or the scheduler closes (SHUTTING_DOWN). Blocks.
absl::Status FollowJob(const CallContext& call, JobScheduler& scheduler, const std::string& name,
                       const std::function<absl::StatusOr<bool>()>& step);

// Whether a job is in a final state.
bool IsFinalState(v1::JobState state);

// The job as it is, then every event behind `after`, and the job again whenever it changed, until it is final. `Job` is
// its resource, `get` reads it, `field` is the response's setter for it.
template <typename Response, typename Job>
absl::Status WatchJob(const CallContext& call, JobScheduler& scheduler, const std::string& name, int64_t after,
                      const std::function<absl::StatusOr<Job>()>& get, Job* (Response::*field)(),
                      StreamWriter<Response>& writer) {
  constexpr int kEvents = 256;
  const absl::Status gone = TenonError(Reason::kCancelled, "the client is gone");
  std::string last;  // the job as it was sent
  const auto send_job = [&](const Job& job) {
    std::string bytes = job.SerializeAsString();
    if (bytes == last) return true;
    last = std::move(bytes);
    Response response;
    *(response.*field)() = job;
    return writer.Write(response);
  };
  return FollowJob(call, scheduler, name, [&]() -> absl::StatusOr<bool> {
    // Read before the events: when it is final, they are all there.
    ASSIGN_OR_RETURN(const Job job, get());
    if (last.empty() && !send_job(job)) return gone;
    while (true) {
      ASSIGN_OR_RETURN(const auto events, scheduler.Events(call.tenant, name, after, kEvents));
      for (const v1::JobEvent& event : events) {
        Response response;
        *response.mutable_event() = event;
        if (!writer.Write(response)) return gone;
        after = event.sequence();
      }
      if (static_cast<int>(events.size()) < kEvents) break;
    }
    if (!send_job(job)) return gone;
    return IsFinalState(job.state());
  });
}

}  // namespace tenon::server
