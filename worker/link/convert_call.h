// What every kind of call to the runtime shares: its deadline, and how its result begins.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/status_proto.h"
#include "tenon/internal/v1/worker_link_service.pb.h"

namespace tenon::link {

inline absl::Time DeadlineOf(const internal::v1::InferenceRequest& request, absl::Time now) {
  return request.timeout_ms() > 0 ? now + absl::Milliseconds(request.timeout_ms()) : absl::InfiniteFuture();
}

// The error, or how long the call waited and computed; its rows are the caller's.
template <typename Reply>
internal::v1::InferenceResult BeginResult(uint64_t call_id, const absl::StatusOr<Reply>& reply) {
  internal::v1::InferenceResult result;
  result.set_call_id(call_id);
  if (!reply.ok()) {
    *result.mutable_error() = ToErrorProto(reply.status());
    return result;
  }
  result.set_queue_seconds(absl::ToDoubleSeconds(reply->queue_time));
  result.set_compute_seconds(absl::ToDoubleSeconds(reply->compute_time));
  return result;
}

}  // namespace tenon::link
