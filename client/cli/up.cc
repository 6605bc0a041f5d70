// tenon up
#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/stack.h"
#include "common/formats/status.h"
#include "common/ids.h"

namespace tenon::cli {
namespace {

namespace fs = std::filesystem;

struct UpFlags {
  std::vector<std::string> bases;
  std::string data, bases_root;
  StackOptions stack;
};

// Where a user's own server keeps its state when nothing else is said (XDG base directories).
fs::path DefaultData() {
  if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && *data != '\0')
    return fs::path(data) / "tenon";
  const char* home = std::getenv("HOME");
  return home == nullptr ? fs::path("tenon-data") : fs::path(home) / ".local" / "share" / "tenon";
}

absl::StatusOr<StackOptions> ReadFlags(const UpFlags& flags) {
  StackOptions options = flags.stack;
  std::vector<fs::path> folders;
  for (const std::string& base : flags.bases) {
    const size_t equals = base.find('=');
    if (equals == std::string::npos) {
      return TenonError(Reason::kFieldInvalid, absl::StrCat("'", base, "' is not NAME=DIR."), "--base");
    }
    RETURN_IF_ERROR(CheckId(base.substr(0, equals), "--base"));
    std::error_code error;
    const fs::path folder = fs::canonical(base.substr(equals + 1), error);
    if (error) {
      return TenonError(Reason::kNotFound, absl::StrCat("There is no folder ", base.substr(equals + 1), "."), "--base");
    }
    options.bases.emplace_back(base.substr(0, equals), folder);
    folders.push_back(folder);
  }
  options.data = fs::absolute(flags.data.empty() ? DefaultData() : fs::path(flags.data));
  options.bases_root = flags.bases_root.empty() ? BasesRoot(folders) : fs::absolute(flags.bases_root);
  return options;
}

absl::Status Up(Cli& cli, const UpFlags& flags) {
  ASSIGN_OR_RETURN(const StackOptions options, ReadFlags(flags));
  Stack stack(options, &cli.calls());
  if (!cli.json()) PrintNote(absl::StrCat("Starting a server and a worker; data in ", options.data.string()));
  absl::Status status = stack.Start();
  if (status.ok()) {
    if (cli.json()) {
      Print(nlohmann::ordered_json(stack.ports()).dump());
    } else {
      Table facts({});
      facts.Add({"server", stack.address()});
      facts.Add({"metrics", absl::StrCat("http://127.0.0.1:", stack.ports().at("metrics"), "/metrics")});
      if (stack.ports().count("worker_metrics") > 0) {
        facts.Add({"", absl::StrCat("http://127.0.0.1:", stack.ports().at("worker_metrics"), "/metrics (worker)")});
      }
      facts.Add({"logs", (options.data / "log").string()});
      Print(absl::StrCat("Tenon is ready; Ctrl-C stops it.\n", facts.ToString()));
      if (stack.ports().at("grpc") != 7070)
        Print(absl::StrCat("In another terminal: export TENON_SERVER=", stack.address()));
    }
    status = stack.Supervise();
  }
  const bool asked = cli.calls().cancelled();
  if (!cli.json()) PrintNote("Stopping.");
  stack.Stop();
  return asked ? absl::OkStatus() : status;
}

}  // namespace

void AddUp(CLI::App& app, Cli& cli) {
  auto flags = std::make_shared<UpFlags>();
  CLI::App* command =
      AddCommand(app, cli, "up", "Run a server and a worker on this machine, until Ctrl-C",
                 "tenon up --base minilm=./all-MiniLM-L6-v2", [&cli, flags] { return Up(cli, *flags); });
  StackOptions& stack = flags->stack;
  command->add_option("--base", flags->bases, "NAME=DIR: a Hugging Face folder to serve; any number of times")
      ->allow_extra_args(false);
  command->add_option("--data", flags->data,
                      "Folder of the server's state; by default below $XDG_DATA_HOME or ~/.local/share");
  command->add_option(
      "--bases-root", flags->bases_root,
      "Folder below which `tenon bases add` registers in place; by default the deepest one above all of "
      "--base, unless that is /: then bases are copied");
  command->add_option("--ports-file", stack.ports_file, "Write the chosen ports here, as JSON, once ready");
  command->add_option("--listen", stack.listen, "Public gRPC; port 0 is any free one")->capture_default_str();
  command->add_option("--workers-listen", stack.workers_listen, "gRPC for workers")->capture_default_str();
  command->add_option("--metrics-listen", stack.metrics_listen, "The server's metrics")->capture_default_str();
  command->add_option("--worker-metrics-listen", stack.worker_metrics_listen, "The worker's metrics")
      ->capture_default_str();
  command->add_option("--device", stack.device, "cpu, or cuda:N")->capture_default_str();
  command
      ->add_option("--server-arg", stack.server_args, "Passed on to tenon-server, as in --server-arg=--log-level=debug")
      ->allow_extra_args(false);
  command->add_option("--worker-arg", stack.worker_args, "Passed on to tenon-worker")->allow_extra_args(false);
}

}  // namespace tenon::cli
