// Many texts to vectors, through the router in calls of bounded size.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/app/call_scope.h"
#include "server/dispatch/inference.h"
#include "tenon/internal/v1/records.pb.h"

namespace tenon::server {

struct Embeddings {
  std::vector<std::vector<float>> vectors;  // [texts, dimensions]
  int64_t input_tokens = 0;
};

// Embeds `texts` by the collection's pinned model; a few calls are in flight at a time. Blocks. All or nothing: the
// first error cancels the rest. CANCELLED when the client goes, INTERNAL when a vector is not finite or has another
// length.
absl::StatusOr<Embeddings> EmbedTexts(InferenceRouter& router, const CallScope& scope,
                                      const internal::v1::CollectionRecord& collection, std::vector<std::string> texts);

}  // namespace tenon::server
