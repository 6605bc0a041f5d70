// Calls to the server that are repeated while it is away or has no room.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"

namespace tenon::link {

// Whether a call that failed so may succeed when it is repeated: the server is away, restarting or slow.
bool IsTransient(const absl::Status& status);

// Whether the server had no room for what it was sent, on its disk or in a queue (DISK_FULL, QUEUE_FULL): somebody will
// make room. What the server is to keep is repeated then; what this machine has no room for is not.
bool IsWithoutRoom(const absl::Status& status);

// Calls `attempt` until it ends in what may not pass, success included, or `given_up` is notified (then CANCELLED).
// Waits with backoff and jitter.
absl::Status Retry(const absl::Notification& given_up, const std::function<absl::Status()>& attempt,
                   const std::function<bool(const absl::Status&)>& may_pass = IsTransient);

}  // namespace tenon::link
