// Runs the jobs that the server assigns: data sets, options, results between the server and the runtime.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "worker/link/adapter_files.h"
#include "worker/link/blob_cache.h"
#include "worker/link/server_client.h"
#include "worker/runtime/runtime.h"
#include "worker/runtime/task_pool.h"

namespace tenon::link {

class AssignedJob;

// Thread-safe. A job lives until its last report is durable, or until the server gave it to somebody else.
class JobRunner {
 public:
  struct Parts {
    runtime::Runtime* runtime;
    ServerClient* server;
    BlobCache* cache;
    AdapterFiles* adapters;
    std::string session;
    std::filesystem::path scratch;  // checkpoints that jobs go on from
    const Clock* clock;
    std::function<void()> on_train_step;  // for metrics; may be empty
  };
  explicit JobRunner(Parts parts);
  // The runtime must be gone, or have no job of ours, so that it calls back no more.
  ~JobRunner();
  // Gives up every job, without a report; takes no more. Calls the runtime no more afterwards.
  void Stop();

  void Assign(internal::v1::JobAssignment assignment);
  // Stops the job within a slice and reports Stopped. Another term's is left alone.
  void Cancel(const std::string& job, int64_t term);
  // Forgets a job whose term is over: nothing more is reported.
  void Drop(const std::string& job, int64_t term);
  // Hands back every job (Stopped), and takes no more.
  void Drain();
  std::vector<internal::v1::JobHold> held() const;
  // Waits until no job is left; false when `timeout` is over first.
  bool WaitUntilEmpty(absl::Duration timeout);

 private:
  using Key = std::pair<std::string, int64_t>;
  void Forget(const Key& key);
  std::shared_ptr<AssignedJob> Find(const Key& key) const;
  bool Empty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return jobs_.empty(); }

  const Parts parts_;
  mutable absl::Mutex mutex_;
  std::map<Key, std::shared_ptr<AssignedJob>> jobs_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  runtime::TaskPool cleaner_{1};  // destroys jobs: never on a thread of their own
  runtime::TaskPool starter_{1};  // fetches their data
};

}  // namespace tenon::link
