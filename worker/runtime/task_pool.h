// A few threads that run posted functions in order. For work that must stay off the device thread.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace tenon::runtime {

// Thread-safe. With one thread, functions run strictly one after another.
class TaskPool {
 public:
  explicit TaskPool(int threads);
  // Waits for what runs; drops what is queued.
  ~TaskPool();
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  // After Stop it does nothing.
  void Post(std::function<void()> task);
  // Like the destructor. Never from a task.
  void Stop();

 private:
  void Run();
  bool Awake() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !tasks_.empty(); }

  absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace tenon::runtime
