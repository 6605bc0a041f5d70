#include "common/event_loop.h"

#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"

namespace tenon {

struct EventLoop::State {
  absl::Mutex mutex;
  std::deque<std::function<void()>> ready ABSL_GUARDED_BY(mutex);
  std::multimap<absl::Time, std::function<void()>> timers ABSL_GUARDED_BY(mutex);
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  absl::CondVar changed;
  std::thread thread;

  // Next function to run; empty when the loop is to stop.
  std::function<void()> Next() {
    absl::MutexLock lock(&mutex);
    while (true) {
      if (stopping) return nullptr;
      while (!timers.empty() && timers.begin()->first <= absl::Now()) {
        ready.push_back(std::move(timers.begin()->second));
        timers.erase(timers.begin());
      }
      if (!ready.empty()) {
        std::function<void()> function = std::move(ready.front());
        ready.pop_front();
        return function;
      }
      if (timers.empty()) {
        changed.Wait(&mutex);
      } else {
        changed.WaitWithDeadline(&mutex, timers.begin()->first);
      }
    }
  }
};

EventLoop::EventLoop() : state_(std::make_unique<State>()) {
  state_->thread = std::thread([state = state_.get()] {
    while (std::function<void()> function = state->Next()) function();
  });
}

EventLoop::~EventLoop() {
  {
    absl::MutexLock lock(&state_->mutex);
    state_->stopping = true;
    state_->changed.SignalAll();
  }
  state_->thread.join();
  // Now, and under no lock: what is dropped may tell somebody that it was.
  std::deque<std::function<void()>> ready;
  std::multimap<absl::Time, std::function<void()>> timers;
  absl::MutexLock lock(&state_->mutex);
  ready.swap(state_->ready);
  timers.swap(state_->timers);
}

void EventLoop::Post(std::function<void()> function) {
  absl::MutexLock lock(&state_->mutex);
  state_->ready.push_back(std::move(function));
  state_->changed.Signal();
}

void EventLoop::PostAfter(absl::Duration delay, std::function<void()> function) {
  absl::MutexLock lock(&state_->mutex);
  state_->timers.emplace(absl::Now() + delay, std::move(function));
  state_->changed.Signal();
}

void EventLoop::Run(std::function<void()> function) {
  absl::Notification done;
  // Told when the function is gone: run, or dropped with the loop.
  std::shared_ptr<void> gone(nullptr, [&done](void*) { done.Notify(); });
  Post([&function, gone = std::exchange(gone, nullptr)] { function(); });
  done.WaitForNotification();
}

size_t EventLoop::waiting() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->ready.size();
}

}  // namespace tenon
