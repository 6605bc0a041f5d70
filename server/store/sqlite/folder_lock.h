// One server a data folder.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"

namespace tenon::server {

// An advisory lock (flock) on `tenon.lock` in a folder, held until destruction. The system drops it when the process
// dies, however it dies, so a crash leaves nothing to clean up.
class FolderLock {
 public:
  // IN_USE names the process that holds it. Makes the folder when it is missing.
  static absl::StatusOr<FolderLock> Take(const std::filesystem::path& folder);
  FolderLock(FolderLock&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace tenon::server
