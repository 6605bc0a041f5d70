// Whole files: read with a size limit, written so that a crash leaves the old file or the new one, never half of one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/formats/status.h"

namespace tenon::formats {

// Bytes of a regular file of at most `max_bytes`. `reason` is that of the error when it is missing, too large or not a
// file.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& file, int64_t max_bytes, Reason reason);

struct Chunk {
  const void* data = nullptr;
  size_t size = 0;
};

// Writes the chunks to a temporary name in the same folder, syncs it, renames it and syncs the folder. A failed sync is
// not tried again. DISK_FULL, else STORAGE_FAULT; the temporary file is gone after an error.
absl::Status WriteFileDurably(const std::filesystem::path& file, const std::vector<Chunk>& chunks);

}  // namespace tenon::formats
