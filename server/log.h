// JSON lines on standard error or in a file: {"time", "level", "message"}, and one {"event": "rpc", ...} for each call.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace spdlog {
class logger;
}

namespace tenon::server {

// Sets spdlog's default logger, takes gRPC's own messages as debug ones, and returns the one for calls, whose lines are
// JSON already. `file` empty: standard error; else see common/log_file.h.
absl::StatusOr<std::shared_ptr<spdlog::logger>> SetUpLog(const std::string& level, const std::filesystem::path& file,
                                                         int64_t max_bytes);

}  // namespace tenon::server
