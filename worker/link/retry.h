// Calls to the server that are repeated while it is away or has no room.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"

namespace tenon::link {

// Whether a call that failed so may succeed when it is repeated: the server is away, restarting, slow or busy.
bool IsTransient(const absl::Status& status);

// Whether there was no room on a disk. What the server is to keep is repeated then, until somebody has made room there;
// what this machine has no room for is not.
bool IsDiskFull(const absl::Status& status);

// Calls `attempt` until it ends in what may not pass, success included, or `given_up` is notified (then CANCELLED).
// Waits with backoff and jitter.
absl::Status Retry(const absl::Notification& given_up, const std::function<absl::Status()>& attempt,
                   const std::function<bool(const absl::Status&)>& may_pass = IsTransient);

}  // namespace tenon::link
