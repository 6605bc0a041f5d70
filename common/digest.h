// SHA-256, and the digests made of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tenon {

// SHA-256 of bytes fed piece by piece.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void Update(const void* data, size_t size);
  // 64 lower-case hex digits. Call once.
  std::string Finish();

 private:
  void* context_;
};

std::string Sha256Hex(const std::string& bytes);
absl::StatusOr<std::string> Sha256File(const std::filesystem::path& file);

// SHA-256 over the sorted SHA-256s (hex, each followed by a newline) of a manifest's files: the digest of a base or a
// revision.
std::string ManifestDigest(std::vector<std::string> file_digests);

// Whether `text` is 64 lower-case hex digits.
bool IsDigest(const std::string& text);

}  // namespace tenon
