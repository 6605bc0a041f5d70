#include "server/api/job_watch.h"

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/formats/status.h"

namespace tenon::server {
namespace {

// What a watcher waits for. Shared with callbacks that may come after it went.
struct Signal {
  absl::Mutex mutex;
  bool changed ABSL_GUARDED_BY(mutex) = true;
  bool gone ABSL_GUARDED_BY(mutex) = false;

  // True when the job may have changed, false when nobody reads any more.
  bool Wait() {
    absl::MutexLock lock(&mutex);
    const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return changed || gone; };
    mutex.Await(absl::Condition(&ready));
    changed = false;
    return !gone;
  }
};

}  // namespace

bool IsFinalState(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED || state == v1::JOB_STATE_CANCELLED;
}

absl::Status FollowJob(const CallContext& call, JobScheduler& scheduler, const std::string& name,
                       const std::function<absl::StatusOr<bool>()>& step) {
  const auto signal = std::make_shared<Signal>();
  struct Registration {
    ~Registration() { scheduler.Unwatch(id); }
    JobScheduler& scheduler;
    uint64_t id;
  } registration{scheduler, scheduler.Watch(call.tenant, name, [signal] {
                   absl::MutexLock lock(&signal->mutex);
                   signal->changed = true;
                 })};
  call.when_cancelled([signal] {
    absl::MutexLock lock(&signal->mutex);
    signal->gone = true;
  });
  while (signal->Wait()) {
    ASSIGN_OR_RETURN(const bool finished, step());
    if (finished) return absl::OkStatus();
    if (scheduler.closing()) return TenonError(Reason::kShuttingDown, "the server is going down; watch again");
  }
  return TenonError(Reason::kCancelled, "the client is gone");
}

}  // namespace tenon::server
