#include "worker/options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cctype>
#include <cstdlib>

namespace tenon {
namespace {

// The host's name as an id: lower case, digits and dashes.
std::string HostId() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  std::string id;
  for (const char* c = name.data(); *c != '\0' && *c != '.' && id.size() < 63; ++c) {
    const auto lower = static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
    id += std::isalnum(static_cast<unsigned char>(lower)) ? lower : '-';
  }
  while (!id.empty() && id.back() == '-') id.pop_back();
  while (!id.empty() && id.front() == '-') id.erase(0, 1);
  return id.empty() ? "worker" : id;
}

std::filesystem::path DefaultCache(const std::string& id) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  std::filesystem::path root = cache != nullptr && *cache != '\0' ? std::filesystem::path(cache)
                               : home != nullptr                  ? std::filesystem::path(home) / ".cache"
                                                                  : std::filesystem::temp_directory_path();
  return root / "tenon" / ("worker-" + id);
}

}  // namespace

std::optional<int> ParseWorkerOptions(int argc, char** argv, WorkerOptions* options) {
  WorkerOptions& o = *options;
  CLI::App app("Tenon's worker: dials a server, trains adapters and answers requests on one device.");
  app.set_version_flag("--version", TENON_VERSION);
  app.option_defaults()->always_capture_default();
  app.add_option("--server", o.server, "Workers' address of the server, host:port");
  app.add_option("--id", o.id, "Name shown to users, [a-z0-9-] (default: this host's name)");
  app.add_option("--device", o.device, "cpu, cuda or cuda:N");
  app.add_option("--precision", o.precision, "Of inference")->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--threads", o.threads, "Threads of one operator; 0: the cores this process may use")
      ->check(CLI::Range(0, 1024));
  app.add_option("--cache", o.cache,
                 "Folder for bases and adapters, one worker's alone (default: ~/.cache/tenon/worker-ID)");
  app.add_option("--metrics-listen", o.metrics_listen,
                 "host:port of the metrics page; port 0: any free one; empty: none");
  app.add_option("--ports-file", o.ports_file, "Write the chosen ports here as JSON");
  app.add_option("--max-batch-tokens", o.max_batch_tokens, "Tokens of one inference batch")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--device-adapters", o.device_adapters, "Adapters on the device at once")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--host-adapter-mb", o.host_adapter_mb, "Host memory for adapters, in MiB")
      ->check(CLI::PositiveNumber);
  app.add_option("--disk-adapter-mb", o.disk_adapter_mb, "Disk for adapters in the cache, in MiB")
      ->check(CLI::PositiveNumber);
  app.add_option("--memory-mb", o.memory_mb, "Device memory told to the server, in MiB; 0: this machine's memory")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--training-floor", o.training_floor, "Share of the device that waiting jobs get at least")
      ->check(CLI::Range(0.0, 0.9));
  app.add_option("--drain-seconds", o.drain_seconds, "Time to finish in after SIGTERM")->check(CLI::NonNegativeNumber);
  app.add_option("--log-level", o.log_level, "Least severe messages to log")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}));
  app.add_option("--log-file", o.log_file, "Log here and not to standard output; three older files are kept beside it");
  app.add_option("--log-file-mb", o.log_file_mb, "Size in MiB at which the log file is moved aside")
      ->check(CLI::PositiveNumber);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  if (o.id.empty()) o.id = HostId();
  if (o.cache.empty()) o.cache = DefaultCache(o.id);
  return std::nullopt;
}

}  // namespace tenon
