#include "common/log_file.h"

#include <spdlog/sinks/rotating_file_sink.h>

#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon {

absl::StatusOr<std::shared_ptr<spdlog::sinks::sink>> OpenLogFile(const std::filesystem::path& file, int64_t max_bytes) {
  std::error_code error;
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), error);
  try {
    return std::make_shared<spdlog::sinks::rotating_file_sink_mt>(file.string(), static_cast<size_t>(max_bytes),
                                                                  kOldLogFiles);
  } catch (const spdlog::spdlog_ex& failure) {
    return TenonError(Reason::kOptionInvalid, absl::StrCat("cannot log to ", file.string(), ": ", failure.what()),
                      "log-file");
  }
}

}  // namespace tenon
