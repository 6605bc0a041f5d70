#include "client/cli/cli.h"

#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/formats/status.h"

namespace tenon::cli {

client::Client& Cli::client() {
  absl::call_once(client_once_, [this] {
    client_ = std::make_unique<client::Client>(client::ClientOptions{.server = settings_.server, .timeout = timeout_},
                                               &calls_);
  });
  return *client_;
}

absl::Status Cli::ReadSettings() {
  ASSIGN_OR_RETURN(timeout_, ParseTimeout(settings_.timeout));
  return absl::OkStatus();
}

absl::Status Cli::Run() { return action_ ? action_() : absl::OkStatus(); }

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return 2;
    case absl::StatusCode::kNotFound:
      return 3;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted:
      return 4;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return 5;
    case absl::StatusCode::kUnavailable:
      return 6;
    case absl::StatusCode::kResourceExhausted:
      return 7;
    case absl::StatusCode::kDeadlineExceeded:
      return 8;
    case absl::StatusCode::kCancelled:
      return 130;  // what a shell shows for Ctrl-C
    default:
      return 1;
  }
}

std::string FormatError(const absl::Status& status, bool json) {
  const Reason reason = GetReason(status);
  const std::string reason_name = reason == Reason::kUnspecified ? "" : ReasonName(reason);
  const std::string field = GetField(status);
  if (json) {
    nlohmann::ordered_json error;
    error["code"] = absl::StatusCodeToString(status.code());
    error["reason"] = reason_name;
    error["field"] = field;
    error["message"] = std::string(status.message());
    return nlohmann::ordered_json{{"error", error}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  std::vector<std::string> facts;
  facts.push_back(reason_name.empty() ? absl::StatusCodeToString(status.code()) : reason_name);
  if (!field.empty()) facts.push_back(field);
  std::string line = absl::StrCat("tenon: ", std::string(status.message()), " [", absl::StrJoin(facts, ", "), "]");
  if (absl::IsUnavailable(status) && reason == Reason::kUnspecified) {
    absl::StrAppend(&line, "\n  `tenon up` starts a server on this machine; --server or TENON_SERVER names another.");
  }
  return line;
}

absl::StatusOr<absl::Duration> ParseTimeout(const std::string& text) {
  absl::Duration timeout;
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds)) {
    timeout = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, &timeout)) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat("'", text, "' is not a time: write 90s, 2m or 1h30m."),
                      "--timeout");
  }
  if (timeout <= absl::ZeroDuration())
    return TenonError(Reason::kFieldInvalid, "The timeout must be more than zero.", "--timeout");
  return timeout;
}

}  // namespace tenon::cli
