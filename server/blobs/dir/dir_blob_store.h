// Blobs in a folder.
//
//   aa/aabb..ff        the bytes of the blob with this SHA-256
//   aa/aabb..ff.link   size and absolute path of a file that was registered in place
//   tmp/               what is being written; emptied at start
#pragma once

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "server/blobs/blob_store.h"

namespace tenon::server {

// Opens or makes the folder. Whoever opens it must be its only user (the store's folder lock sees to that).
// STORAGE_FAULT, DISK_FULL.
absl::StatusOr<std::unique_ptr<BlobStore>> OpenDirBlobStore(const std::filesystem::path& folder);

}  // namespace tenon::server
