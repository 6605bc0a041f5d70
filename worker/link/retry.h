// Calls to the server that are repeated while it is away.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"

namespace tenon::link {

// Whether a call that failed so may succeed when it is repeated: the server is away, restarting or slow.
bool IsTransient(const absl::Status& status);

// Calls `attempt` until it succeeds, fails for good, or `given_up` is notified (then CANCELLED). Waits with backoff and
// jitter.
absl::Status Retry(const absl::Notification& given_up, const std::function<absl::Status()>& attempt);

}  // namespace tenon::link
