// A file that one process at a time holds.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace tenon::cli {

// Not thread-safe. The file goes with its owner; one that was left by a killed process is in nobody's way.
class LockFile {
 public:
  LockFile() = default;
  ~LockFile() { Release(); }
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

  // Makes the file where it is missing. IN_USE with `message` and `field` while another process (or another LockFile of
  // this one) holds it, INVALID_ARGUMENT when it cannot be written.
  absl::Status Take(const std::string& path, const std::string& message, const std::string& field);
  // Removes the file and lets go of it. Does nothing when it is not held.
  void Release();
  bool held() const { return descriptor_ >= 0; }

 private:
  std::string path_;
  int descriptor_ = -1;
};

}  // namespace tenon::cli
