// Blobs that no record names any more.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/blobs/blob_store.h"
#include "server/store/store.h"

namespace tenon::server {

// Deletes blobs older than `min_age` whose digest occurs in no base, revision, data set, collection or job. Returns how
// many. Before serving: an upload under way names its blobs only at its end.
absl::StatusOr<int64_t> SweepBlobs(Store& store, BlobStore& blobs, absl::Duration min_age);

}  // namespace tenon::server
