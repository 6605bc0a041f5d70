#include "worker/link/stall_guard.h"

#include <grpcpp/client_context.h>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"

namespace tenon::link {

// Shared with the timer that is out.
struct StallGuard::State {
  const absl::Duration limit;
  absl::Mutex mutex;
  grpc::ClientContext* context ABSL_GUARDED_BY(mutex);  // null once nobody is to be cancelled
  absl::Time last ABSL_GUARDED_BY(mutex) = absl::Now();
  bool stalled ABSL_GUARDED_BY(mutex) = false;

  State(grpc::ClientContext* call, absl::Duration longest) : limit(longest), context(call) {}
};

StallGuard::StallGuard(EventLoop* loop, grpc::ClientContext* context, absl::Duration limit)
    : state_(std::make_shared<State>(context, limit)) {
  loop->PostAfter(limit, [loop, state = state_] { Watch(loop, state); });
}

StallGuard::~StallGuard() {
  absl::MutexLock lock(&state_->mutex);
  state_->context = nullptr;
}

void StallGuard::Progress() {
  absl::MutexLock lock(&state_->mutex);
  state_->last = absl::Now();
}

bool StallGuard::stalled() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->stalled;
}

void StallGuard::Watch(EventLoop* loop, const std::shared_ptr<State>& state) {
  absl::MutexLock lock(&state->mutex);
  if (state->context == nullptr) return;
  const absl::Duration left = state->last + state->limit - absl::Now();
  if (left > absl::ZeroDuration()) {
    loop->PostAfter(left, [loop, state] { Watch(loop, state); });
    return;
  }
  state->stalled = true;
  state->context->TryCancel();
  state->context = nullptr;
}

}  // namespace tenon::link
