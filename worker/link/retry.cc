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

absl::Status Retry(const absl::Notification& given_up, const std::function<absl::Status()>& attempt) {
  Backoff backoff({});
  while (!given_up.HasBeenNotified()) {
    absl::Status status = attempt();
    if (!IsTransient(status)) return status;
    given_up.WaitForNotificationWithTimeout(backoff.Next());
  }
  return TenonError(Reason::kCancelled, "given up");
}

}  // namespace tenon::link
