// A log on disk that does not grow for ever.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"

namespace spdlog::sinks {
class sink;
}

namespace tenon {

// Older files that are kept beside the current one: server.log, server.1.log, ... server.3.log.
inline constexpr int kOldLogFiles = 3;

// Appends to `file`, which is moved aside when it has `max_bytes`; makes its folder. OPTION_INVALID names the file.
absl::StatusOr<std::shared_ptr<spdlog::sinks::sink>> OpenLogFile(const std::filesystem::path& file, int64_t max_bytes);

}  // namespace tenon
