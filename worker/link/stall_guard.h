// Ends a call whose other end has fallen silent. A deadline cannot tell a large file from a hung one.
#pragma once

#include <memory>

#include "absl/time/time.h"
#include "common/event_loop.h"

namespace grpc {
class ClientContext;
}

namespace tenon::link {

// Thread-safe. Cancels the call once `limit` has passed without progress. The loop must outlive the guard.
class StallGuard {
 public:
  StallGuard(EventLoop* loop, grpc::ClientContext* context, absl::Duration limit);
  // The call may be destroyed afterwards.
  ~StallGuard();
  StallGuard(const StallGuard&) = delete;
  StallGuard& operator=(const StallGuard&) = delete;

  // Something came or went.
  void Progress();
  // Whether the call was cancelled for its silence.
  bool stalled() const;

 private:
  struct State;
  static void Watch(EventLoop* loop, const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_;
};

}  // namespace tenon::link
