// Writing files that survive a power cut.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace tenon::server {

// A temporary file that becomes durable under its final name at once, or leaves nothing. Not thread-safe.
class DurableFile {
 public:
  // Makes a new file named `temporary`, which must not exist. DISK_FULL, STORAGE_FAULT.
  static absl::StatusOr<DurableFile> Create(const std::filesystem::path& temporary);
  DurableFile(DurableFile&& other) noexcept;
  DurableFile& operator=(DurableFile&&) = delete;
  // Removes the temporary file when Publish was not reached.
  ~DurableFile();

  absl::Status Append(const std::string& bytes);
  // fsync, rename to `target`, fsync its folder. A failed fsync is never tried again.
  absl::Status Publish(const std::filesystem::path& target);

 private:
  DurableFile(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::filesystem::path path_;
  int descriptor_;
};

// Makes `folder` durably: it and its parent are synced. An existing one is no error.
absl::Status MakeFolder(const std::filesystem::path& folder);
// Makes names in `folder` durable.
absl::Status SyncFolder(const std::filesystem::path& folder);
// DISK_FULL or STORAGE_FAULT from errno.
absl::Status SystemError(const std::string& what, int code);

}  // namespace tenon::server
