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
      return false;
  }
}

bool IsWithoutRoom(const absl::Status& status) {
  // Not the code alone: a message that is too large for gRPC has it, too, and stays too large.
  return GetReason(status) == Reason::kDiskFull || GetReason(status) == Reason::kQueueFull;
}

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
