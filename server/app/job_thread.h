// One thread that runs blocking pieces of work in turn.
#pragma once

#include <deque>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace tenon::server {

// Thread-safe.
class JobThread {
 public:
  JobThread();
  ~JobThread() { Stop(); }
  // Dropped after Stop.
  void Post(std::function<void()> work);
  // Waits for the piece that is running and drops what is queued. For one thread alone.
  void Stop();

 private:
  void Loop();

  absl::Mutex mutex_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tenon::server
