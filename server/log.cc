#include "server/log.h"

#include <grpc/support/log.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "absl/time/time.h"
#include "common/formats/status.h"
#include "common/log_file.h"

namespace tenon::server {
namespace {

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const std::string payload(message.payload.data(), message.payload.size());
    // A call's line is an object of its own.
    nlohmann::ordered_json line = {
        {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(message.time), absl::UTCTimeZone())},
        {"level", spdlog::level::to_string_view(message.level).data()}};
    const auto parsed = payload.rfind("{\"", 0) == 0 ? nlohmann::ordered_json::parse(payload, nullptr, false)
                                                     : nlohmann::ordered_json();
    if (parsed.is_object()) {
      line.update(parsed);
    } else {
      line["message"] = payload;
    }
    const std::string text = line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

// What gRPC says of itself is for those who look for it: our own messages name what matters.
void LogOfGrpc(gpr_log_func_args* args) { spdlog::debug("grpc: {}", args->message); }

}  // namespace

absl::StatusOr<std::shared_ptr<spdlog::logger>> SetUpLog(const std::string& level, const std::filesystem::path& file,
                                                         int64_t max_bytes) {
  std::shared_ptr<spdlog::sinks::sink> sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  if (!file.empty()) {
    ASSIGN_OR_RETURN(sink, OpenLogFile(file, max_bytes));
  }
  auto logger = std::make_shared<spdlog::logger>("tenon", sink);
  logger->set_formatter(std::make_unique<JsonFormatter>());
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::trace);  // the last line is the one that is wanted
  spdlog::set_default_logger(logger);
  gpr_set_log_function(LogOfGrpc);
  return logger;
}

}  // namespace tenon::server
