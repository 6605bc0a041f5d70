#include "server/options.h"

#include <CLI/CLI.hpp>

namespace tenon::server {

std::optional<int> ParseServerOptions(int argc, char** argv, ServerOptions* options) {
  ServerOptions& o = *options;
  CLI::App app("Tenon's server: takes jobs and requests, keeps all state, hands work to workers.");
  app.set_version_flag("--version", TENON_VERSION);
  app.get_formatter()->column_width(34);
  app.add_option("--data", o.data, "Folder of everything that must survive; made when it is missing")->required();
  app.add_option("--listen", o.listen, "Address of the public gRPC services; port 0: any free one")
      ->capture_default_str();
  app.add_option("--workers-listen", o.workers_listen, "Address that workers dial")->capture_default_str();
  app.add_option("--metrics-listen", o.metrics_listen, "Address of the Prometheus page, /metrics; empty: none")
      ->capture_default_str();
  app.add_flag(
      "--allow-remote", o.allow_remote,
      "Listen on addresses that other machines reach. There are no credentials: whoever reaches them may do all");
  app.add_option("--bases-root", o.bases_root, "Folder below which bases may be registered in place")
      ->check(CLI::ExistingDirectory);
  app.add_option("--ports-file", o.ports_file,
                 "Write the chosen ports here as JSON once ready: grpc, workers, metrics");
  app.add_option("--heartbeat-ms", o.heartbeat_ms, "Between two heartbeats of a worker")
      ->check(CLI::Range(10, 600'000))
      ->capture_default_str();
  app.add_option("--lease-ms", o.lease_ms, "A worker silent for longer is lost")
      ->check(CLI::Range(30, 3'600'000))
      ->capture_default_str();
  app.add_option("--reconnect-ms", o.reconnect_ms, "A worker whose stream closed is lost behind this")
      ->check(CLI::Range(0, 600'000))
      ->capture_default_str();
  app.add_option("--drain-seconds", o.drain_seconds, "Time for running calls to end in after SIGTERM")
      ->check(CLI::Range(0, 3600))
      ->capture_default_str();
  app.add_option("--max-queued-texts", o.max_queued_texts, "Texts that may wait for workers; beyond: QUEUE_FULL")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-queued-mb", o.max_queued_mb, "Their bytes in MiB, likewise")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-queued-jobs", o.max_queued_jobs, "Jobs that may wait for workers; beyond: QUEUE_FULL")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--index-memory-mb", o.index_memory_mb,
                 "Memory for vector indexes in MiB; least recently searched go first")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--log-level", o.log_level, "Least severe messages to log")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "off"}))
      ->capture_default_str();
  app.add_option("--log-file", o.log_file, "Log here and not to standard error; three older files are kept beside it");
  app.add_option("--log-file-mb", o.log_file_mb, "Size in MiB at which the log file is moved aside")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  try {
    app.parse(argc, argv);
    if (o.lease_ms <= o.heartbeat_ms) throw CLI::ValidationError("--lease-ms", "must be longer than --heartbeat-ms");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  return std::nullopt;
}

}  // namespace tenon::server
