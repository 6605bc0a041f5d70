#include "client/calls.h"

#include <grpcpp/client_context.h>

namespace tenon::client {

void Calls::Add(grpc::ClientContext* context) {
  absl::MutexLock lock(&mutex_);
  contexts_.insert(context);
  if (cancelled_) context->TryCancel();
}

void Calls::Remove(grpc::ClientContext* context) {
  absl::MutexLock lock(&mutex_);
  contexts_.erase(context);
}

void Calls::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : contexts_) context->TryCancel();
}

bool Calls::cancelled() const {
  absl::MutexLock lock(&mutex_);
  return cancelled_;
}

bool Calls::WaitForCancel(absl::Duration at_most) const {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&cancelled_), at_most);
}

}  // namespace tenon::client
