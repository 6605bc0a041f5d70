#include "worker/link/retry.h"

#include "common/formats/status.h"
#include "worker/link/backoff.h"

namespace tenon::link {

bool IsTransient(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnknown:
      return true;
    default:
      // Not the code: a message that is too large for gRPC has the same, and stays too large.
      return GetReason(status) == Reason::kQueueFull;
  }
}

bool IsDiskFull(const absl::Status& status) { return GetReason(status) == Reason::kDiskFull; }

absl::Status Retry(const absl::Notification& given_up, const std::function<absl::Status()>& attempt,
                   const std::function<bool(const absl::Status&)>& may_pass) {
  Backoff backoff({});
  while (!given_up.HasBeenNotified()) {
    absl::Status status = attempt();
    if (!may_pass(status)) return status;
    given_up.WaitForNotificationWithTimeout(backoff.Next());
  }
  return TenonError(Reason::kCancelled, "given up");
}

}  // namespace tenon::link
