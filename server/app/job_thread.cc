#include "server/app/job_thread.h"

#include <utility>

namespace tenon::server {

JobThread::JobThread() : thread_([this] { Loop(); }) {}

void JobThread::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void JobThread::Post(std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  if (!stop_) queue_.push_back(std::move(work));
}

void JobThread::Loop() {
  while (true) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mutex_);
      const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stop_ || !queue_.empty(); };
      mutex_.Await(absl::Condition(&has_work));
      if (stop_) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace tenon::server
