// The `tenon` command.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/process.h"

namespace {

// Ctrl-C and SIGTERM cancel the calls under way; a second one ends the process.
void WaitForSignals(const sigset_t& signals, tenon::client::Calls& calls) {
  int signal = 0;
  while (sigwait(&signals, &signal) == 0) {
    if (calls.cancelled()) _exit(128 + signal);
    calls.Cancel();
  }
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
    return app.exit(error) == 0 ? 0 : 2;
  }
  absl::Status status = cli.ReadSettings();
  if (status.ok()) {
    std::thread([&signals, &cli] { WaitForSignals(signals, cli.calls()); }).detach();
    status = cli.Run();
  }
  if (!status.ok()) tenon::cli::PrintNote(tenon::cli::FormatError(status, cli.json()));
  const int code = tenon::cli::ExitCode(status);
  // The thread that waits for signals refers to this frame: leave without unwinding it.
  std::fflush(nullptr);
  _exit(code);
}
