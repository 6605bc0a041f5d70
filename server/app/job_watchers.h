// Who is told that a job changed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/app/job_board.h"

namespace tenon::server {

// Thread-safe. Callbacks run under its lock: they must be quick and never call back.
class JobWatchers {
 public:
  uint64_t Add(const JobKey& key, std::function<void()> changed);
  // The callback does not run any more once this returns.
  void Remove(uint64_t watch);
  void Notify(const JobKey& key);
  void NotifyAll();
  // Progress at `now`, told at most once an interval for each job. kLater: too soon; the caller calls NotifyLater after
  // an interval, so that the last progress is told, too. The others need nothing more.
  enum class Pace { kTold, kLater, kPlanned };
  Pace NotifyProgress(const JobKey& key, absl::Time now, absl::Duration interval);
  // The wait that kLater asked for is over.
  void NotifyLater(const JobKey& key, absl::Time now);

 private:
  struct Watcher {
    JobKey key;
    std::function<void()> changed;
  };
  struct Told {
    absl::Time time;
    bool planned = false;
  };
  void NotifyLocked(const JobKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsWatched(const JobKey& key) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Watcher> watchers_ ABSL_GUARDED_BY(mutex_);
  std::map<JobKey, Told> told_ ABSL_GUARDED_BY(mutex_);  // of jobs that are watched
};

}  // namespace tenon::server
