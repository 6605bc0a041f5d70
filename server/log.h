// JSON lines on standard error: {"time", "level", "message"}, and one {"event": "rpc", ...} for each call.
#pragma once

#include <memory>
#include <string>

namespace spdlog {
class logger;
}

namespace tenon::server {

// Sets spdlog's default logger, takes gRPC's own messages as debug ones, and returns the one for calls, whose lines are
// JSON already.
std::shared_ptr<spdlog::logger> SetUpLog(const std::string& level);

}  // namespace tenon::server
