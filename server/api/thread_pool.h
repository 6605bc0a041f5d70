// A bounded pool for handlers that block.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace tenon::server {

// Threads start when they are first needed. Thread-safe.
class ThreadPool {
 public:
  // `max_queue` functions may wait while all `max_threads` threads are busy.
  ThreadPool(int max_threads, int max_queue) : max_threads_(max_threads), max_queue_(max_queue) {}
  // Runs what waits, then joins.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // False when every thread that there may be, or that can be started, is busy and the queue is full: `function` will
  // not run.
  bool Schedule(std::function<void()> function);
  int waiting() const;

 private:
  void Run();
  bool StartThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int max_threads_;
  const int max_queue_;
  mutable absl::Mutex mutex_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  int idle_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tenon::server
