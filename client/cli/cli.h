// What every command of the CLI shares: settings, the connection, the command that was chosen, and how it ends.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/base/call_once.h"
#include "absl/status/status.h"
#include "client/calls.h"
#include "client/tenon_client.h"

namespace tenon::cli {

// Options that every command takes.
struct Settings {
  std::string server = "127.0.0.1:7070";
  std::string timeout = "60s";
  std::string output = "table";
};

class Cli {
 public:
  Settings& settings() { return settings_; }
  client::Calls& calls() { return calls_; }
  bool json() const { return settings_.output == "json"; }

  // Made at the first use, after ReadSettings checked the timeout. Thread-safe: the batches of one input ask at once.
  client::Client& client();
  // FIELD_INVALID when an option cannot be read.
  absl::Status ReadSettings();

  // What to do once the command line was read.
  void set_action(std::function<absl::Status()> action) { action_ = std::move(action); }
  absl::Status Run();

 private:
  Settings settings_;
  absl::Duration timeout_;
  client::Calls calls_;
  absl::once_flag client_once_;
  std::unique_ptr<client::Client> client_;
  std::function<absl::Status()> action_;
};

// Exit code of a command that ended with `status`: 0 only for OK (docs/guides/cli.md has the table). 2 is also a wrong
// command line.
int ExitCode(const absl::Status& status);

// What a person, or with `json` a script, reads on standard error: message, reason and field.
std::string FormatError(const absl::Status& status, bool json);

// `90s`, `2m`, `1h30m` or plain seconds; more than zero.
absl::StatusOr<absl::Duration> ParseTimeout(const std::string& text);

}  // namespace tenon::cli
