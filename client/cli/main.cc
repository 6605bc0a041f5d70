// The `tenon` command.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/process.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace {

// Ctrl-C and SIGTERM cancel the calls under way; a second one ends the process. What sends a signal to a process and
// to its group, as timeout(1) does, sends it twice at once and means it once.
void WaitForSignals(const sigset_t& signals, tenon::client::Calls& calls) {
  constexpr absl::Duration kOnce = absl::Milliseconds(500);
  absl::Time first;
  int signal = 0;
  while (sigwait(&signals, &signal) == 0) {
    if (calls.cancelled() && absl::Now() - first > kOnce) _exit(128 + signal);
    if (!calls.cancelled()) first = absl::Now();
    calls.Cancel();
  }
}

// Requests carry texts and names as protobuf strings, which have to be UTF-8.
absl::Status CheckArguments(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (!tenon::formats::IsValidUtf8(argv[i])) {
      return tenon::TenonError(tenon::Reason::kTextNotUtf8, absl::StrCat("Argument ", i, " is not UTF-8."));
    }
  }
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], tenon::cli::kBecomeChild) == 0) return tenon::cli::BecomeChild(argc, argv);
  // Before any thread, so that all of them leave these signals to the one that waits for them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  tenon::cli::Cli cli;
  CLI::App app("", "tenon");
  tenon::cli::AddCommands(app, cli);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const std::string unknown = tenon::cli::ExplainUnknownCommand(app);
    if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && !unknown.empty()) {
      tenon::cli::PrintNote(unknown + "\nRun with --help for more information.");
      return 2;
    }
    return app.exit(error) == 0 ? 0 : 2;
  }
  absl::Status status = CheckArguments(argc, argv);
  if (status.ok()) status = cli.ReadSettings();
  if (status.ok()) {
    std::thread([&signals, &cli] { WaitForSignals(signals, cli.calls()); }).detach();
    status = cli.Run();
  }
  if (status.ok()) status = tenon::cli::FlushOutput();
  if (!status.ok()) tenon::cli::PrintNote(tenon::cli::FormatError(status, cli.json()));
  const int code = tenon::cli::ExitCode(status);
  // The thread that waits for signals refers to this frame: leave without unwinding it.
  std::fflush(nullptr);
  _exit(code);
}
