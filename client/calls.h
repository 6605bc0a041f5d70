// The calls of one process that are under way, so that Ctrl-C can cancel them all.
#pragma once

#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace grpc {
class ClientContext;
}

namespace tenon::client {

// Thread-safe.
class Calls {
 public:
  // Cancels `context` at once when Cancel was called before.
  void Add(grpc::ClientContext* context);
  void Remove(grpc::ClientContext* context);
  // Cancels every call under way and every later one.
  void Cancel();
  bool cancelled() const;
  // Waits; true when Cancel was called meanwhile.
  bool WaitForCancel(absl::Duration at_most) const;

 private:
  mutable absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<grpc::ClientContext*> contexts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tenon::client
