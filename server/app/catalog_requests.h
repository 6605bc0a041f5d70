// Creates that may be sent twice, and resources that others need.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "server/store/store.h"

namespace tenon::server {

// Bytes of a piece of an upload, at most.
inline constexpr size_t kMaxChunk = 1 << 20;

// The resource that this request_id made before, or nothing and it stands for `resource` from now on. Nothing without a
// request_id. REQUEST_ID_REUSED when `digest` differs from the first call's, FIELD_INVALID when the id is longer than
// 128 bytes.
absl::StatusOr<std::optional<std::string>> ClaimCreate(Transaction& transaction, const std::string& tenant,
                                                       const std::string& method, const std::string& request_id,
                                                       const std::string& digest, const std::string& resource);

// Digest of a request's fields; equal messages give equal digests.
std::string RequestDigest(const google::protobuf::Message& request);

// ALREADY_EXISTS when the key is taken; `what` is "collection", ..., `field` the request's.
absl::Status CheckFree(Snapshot& snapshot, const std::string& tenant, const std::string& kind, const std::string& id,
                       const std::string& what, const std::string& field);

// ALREADY_EXISTS when the base is there, or an open job is to make it.
absl::Status CheckBaseFree(Snapshot& snapshot, const std::string& tenant, const std::string& id,
                           const std::string& field);

// IN_USE that names who needs it: jobs that are not final, adapters of a base, collections that pin it.
absl::Status CheckBaseUnused(Snapshot& snapshot, const std::string& tenant, const std::string& id);
absl::Status CheckAdapterUnused(Snapshot& snapshot, const std::string& tenant, const std::string& id);
absl::Status CheckDatasetUnused(Snapshot& snapshot, const std::string& tenant, const std::string& id);
absl::Status CheckCollectionUnused(Snapshot& snapshot, const std::string& tenant, const std::string& id);

}  // namespace tenon::server
