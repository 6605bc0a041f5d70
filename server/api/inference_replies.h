// Requests checked and replies built: what InferenceService says in its protos, without gRPC.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "server/catalog/catalog.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "tenon/v1/inference_service.pb.h"

namespace tenon::server {

inline constexpr int kMaxTexts = 1024;
inline constexpr int64_t kMaxTextBytes = 1 << 20;

// 1 to `max_texts` texts, none empty, each valid and at most 1 MiB; names `texts[3]`.
absl::Status CheckTexts(const google::protobuf::RepeatedPtrField<std::string>& texts, int max_texts = kMaxTexts);
// FIELD_REQUIRED for a request that names no model.
absl::Status ModelRequired();
absl::Status CheckClassify(const v1::ClassifyRequest& request);
absl::Status CheckEmbed(const v1::EmbedRequest& request);

// Scores in label order become labels, best first; equal scores keep label order. `top_k` 0: all. An error when a row
// does not have one score for each label.
absl::StatusOr<v1::ClassifyResponse> ClassifyReply(const ResolvedModel& model, int top_k,
                                                   const internal::v1::InferenceResult& result);
v1::EmbedResponse EmbedReply(const ResolvedModel& model, internal::v1::InferenceResult result);

}  // namespace tenon::server
