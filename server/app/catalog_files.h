// Files of an upload on their way in: on disk in a folder of their own, where they are checked before anything is
// stored.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/digest.h"
#include "server/blobs/blob_store.h"
#include "tenon/v1/catalog_service.pb.h"

namespace tenon::server {

// FIELD_INVALID unless `name` is 1 to 128 of [A-Za-z0-9._-], not starting with a dot: no folder, nothing hidden.
absl::Status CheckFileName(const std::string& name, const std::string& field);

// Not thread-safe. The folder and all in it goes with the object.
class StagedFolder {
 public:
  // A new folder below `root`, which is made when it is missing.
  static absl::StatusOr<std::unique_ptr<StagedFolder>> Create(const std::filesystem::path& root);
  ~StagedFolder();
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  // Ends the file before, and starts `name`, which was checked. FIELD_INVALID when it is there already.
  absl::Status Start(const std::string& name);
  // DISK_FULL, STORAGE_FAULT.
  absl::Status Append(const char* data, size_t size);
  // Ends the last file.
  absl::Status Finish();

  const std::filesystem::path& path() const { return path_; }
  // Files that are ended, in the order they came.
  const std::vector<v1::FileEntry>& files() const { return files_; }

 private:
  explicit StagedFolder(std::filesystem::path path) : path_(std::move(path)) {}
  const std::filesystem::path path_;
  std::vector<v1::FileEntry> files_;
  int descriptor_ = -1;
  std::unique_ptr<Sha256> digest_;
  v1::FileEntry current_;
};

// Copies `folder`/`file.path()` into the blob store.
absl::Status PublishFile(BlobStore& blobs, const std::filesystem::path& folder, const v1::FileEntry& file);

// Digest of a manifest.
std::string DigestOf(const std::vector<v1::FileEntry>& files);

}  // namespace tenon::server
