// Files by their SHA-256. A blob is whole and durable, or not there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tenon::server {

// Takes the bytes of one blob. Not thread-safe. Dropped without Commit it leaves nothing behind.
class BlobWriter {
 public:
  virtual ~BlobWriter() = default;
  // DISK_FULL, STORAGE_FAULT, TOO_LARGE.
  virtual absl::Status Append(const std::string& bytes) = 0;
  // fsync, rename, fsync the folder. DIGEST_MISMATCH when `expected_sha256` is given and differs. Returns the digest.
  virtual absl::StatusOr<std::string> Commit(const std::string& expected_sha256) = 0;
};

// Thread-safe. All calls may block on disk.
class BlobStore {
 public:
  virtual ~BlobStore() = default;
  virtual absl::StatusOr<std::unique_ptr<BlobWriter>> Create(int64_t max_bytes) = 0;
  // Registers a file in place (a base's folder on this machine); its digest must be known and is checked once here.
  virtual absl::Status Link(const std::filesystem::path& file, const std::string& sha256) = 0;
  virtual absl::StatusOr<int64_t> Size(const std::string& sha256) = 0;
  // Calls `sink` with pieces of at most 1 MiB; stops at its first error. NOT_FOUND.
  virtual absl::Status Read(const std::string& sha256,
                            const std::function<absl::Status(const std::string& piece)>& sink) = 0;
  // Whole blob in memory, for small ones. TOO_LARGE above `max_bytes`.
  virtual absl::StatusOr<std::string> ReadAll(const std::string& sha256, int64_t max_bytes) = 0;
  virtual absl::Status Delete(const std::string& sha256) = 0;
  // Every digest here with the time it was committed, for the sweep of unreferenced ones.
  virtual absl::Status List(const std::function<void(const std::string& sha256, int64_t age_seconds)>& visit) = 0;
};

}  // namespace tenon::server
