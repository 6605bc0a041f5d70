// One thread that runs posted functions and timers in order: what it owns needs no locks.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "absl/time/time.h"

namespace tenon {

// Thread-safe. Functions run on the loop's own thread, one at a time, in the order they were posted. Must not block.
class EventLoop {
 public:
  // Starts the thread.
  EventLoop();
  // Stops after the function that is running; what is still queued is dropped.
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  void Post(std::function<void()> function);
  // Runs `function` once, not before `delay` from now.
  void PostAfter(absl::Duration delay, std::function<void()> function);
  // Runs `function` on the loop and waits for it; returns without it when the loop is being destroyed. Never call it
  // from the loop itself.
  void Run(std::function<void()> function);
  // Functions that wait for their turn, timers not counted.
  size_t waiting() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tenon
