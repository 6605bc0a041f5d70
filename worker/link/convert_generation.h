// Messages of generation and summaries to the runtime's words and back. Pure.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "worker/runtime/runtime.h"

namespace tenon::link {

// What the request sets; `bad_words` are texts and go with the call. FIELD_INVALID names the option.
absl::StatusOr<engine::GenerationOptions> ToGenerationOptions(const v1::GenerationConfig& config);

// Of a request of kind GENERATE, and of kind SUMMARIZE.
absl::StatusOr<runtime::GenerationCall> ToGenerationCall(const internal::v1::InferenceRequest& request, absl::Time now);
absl::StatusOr<runtime::SummaryCall> ToSummaryCall(const internal::v1::InferenceRequest& request, absl::Time now);

internal::v1::InferenceResult ToResult(uint64_t call_id, const absl::StatusOr<runtime::GenerationReply>& reply);
internal::v1::InferenceResult ToResult(uint64_t call_id, const absl::StatusOr<runtime::SummaryReply>& reply);

}  // namespace tenon::link
