#include "server/api/thread_pool.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace tenon::server {

ThreadPool::~ThreadPool() {
  std::vector<std::thread> threads;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

bool ThreadPool::Schedule(std::function<void()> function) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return false;
  const int waiting = static_cast<int>(queue_.size()) - idle_;  // idle threads are about to take theirs
  if (waiting >= 0) {
    if (static_cast<int>(threads_.size()) < max_threads_ && StartThread()) {
      ++idle_;  // the new thread takes one
    } else if (threads_.empty() || waiting >= max_queue_) {
      return false;
    }
  }
  queue_.push_back(std::move(function));
  return true;
}

bool ThreadPool::StartThread() {
  try {
    threads_.emplace_back([this] { Run(); });
  } catch (const std::system_error& error) {  // of this machine or its limits; those that run go on
    spdlog::error("cannot start a thread beside {}: {}", threads_.size(), error.what());
    return false;
  }
  return true;
}

int ThreadPool::waiting() const {
  absl::MutexLock lock(&mutex_);
  return std::max(0, static_cast<int>(queue_.size()) - idle_);
}

void ThreadPool::Run() {
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !queue_.empty(); };
  while (true) {
    std::function<void()> function;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&ready));
      if (queue_.empty()) return;
      function = std::move(queue_.front());
      queue_.pop_front();
      --idle_;
    }
    function();
    function = nullptr;  // what it holds is released before the thread counts as idle
    absl::MutexLock lock(&mutex_);
    ++idle_;
  }
}

}  // namespace tenon::server
