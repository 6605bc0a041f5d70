#include "server/dispatch/inference.h"

#include "absl/synchronization/notification.h"

namespace tenon::server {

absl::StatusOr<internal::v1::InferenceResult> InferenceRouter::SubmitAndWait(InferenceCall call) {
  struct Answer {
    absl::Notification ready;
    absl::StatusOr<internal::v1::InferenceResult> result = absl::UnknownError("unanswered");
  };
  auto answer = std::make_shared<Answer>();
  Submit(std::move(call), [answer](absl::StatusOr<internal::v1::InferenceResult> result) {
    answer->result = std::move(result);
    answer->ready.Notify();
  });
  answer->ready.WaitForNotification();
  return std::move(answer->result);
}

}  // namespace tenon::server
