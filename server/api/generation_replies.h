// Replies of Generate, StreamGenerate and Summarize, built of what a worker answered.
#pragma once

#include "absl/status/statusor.h"
#include "server/catalog/catalog.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "tenon/v1/inference_service.pb.h"

namespace tenon::server {

// INTERNAL when a row is not what was asked for.
absl::StatusOr<v1::GenerateResponse> GenerateReply(const ResolvedModel& model, internal::v1::InferenceResult result);
absl::StatusOr<v1::SummarizeResponse> SummarizeReply(const ResolvedModel& model, internal::v1::InferenceResult result);

// What the last message of a stream adds to the text that is still on its way: the whole sequence, the model and what
// was consumed.
absl::StatusOr<v1::StreamGenerateResponse> StreamEnd(const ResolvedModel& model, internal::v1::InferenceResult result);

}  // namespace tenon::server
