#include "server/dispatch/inference.h"

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/formats/status.h"

namespace tenon::server {

absl::StatusOr<internal::v1::InferenceResult> InferenceRouter::SubmitAndWait(InferenceCall call,
                                                                             const WhenCancelled& when_cancelled) {
  // Shared with callbacks that may come after the wait is over.
  struct Answer {
    absl::Mutex mutex;
    bool here ABSL_GUARDED_BY(mutex) = false;
    absl::StatusOr<internal::v1::InferenceResult> result ABSL_GUARDED_BY(mutex) = absl::UnknownError("unanswered");
    bool Set(absl::StatusOr<internal::v1::InferenceResult> value) {
      absl::MutexLock lock(&mutex);
      if (here) return false;
      result = std::move(value);
      here = true;
      return true;
    }
  };
  auto answer = std::make_shared<Answer>();
  const uint64_t id = Submit(std::move(call), [answer](absl::StatusOr<internal::v1::InferenceResult> result) {
    answer->Set(std::move(result));
  });
  if (when_cancelled) {
    when_cancelled([this, answer, id] {
      if (answer->Set(TenonError(Reason::kCancelled, "the call was cancelled"))) Cancel(id);
    });
  }
  absl::MutexLock lock(&answer->mutex);
  answer->mutex.Await(absl::Condition(&answer->here));
  return std::move(answer->result);
}

}  // namespace tenon::server
