// Command line of tenon-server.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace tenon::server {

struct ServerOptions {
  std::filesystem::path data;
  std::string listen = "127.0.0.1:7070";
  std::string workers_listen = "127.0.0.1:7071";
  std::string metrics_listen = "127.0.0.1:9464";  // empty: none
  bool allow_remote = false;
  std::filesystem::path bases_root;  // empty: no base is registered in place
  std::filesystem::path ports_file;  // empty: none
  int heartbeat_ms = 10'000;
  int lease_ms = 30'000;
  int reconnect_ms = 5'000;
  int drain_seconds = 10;
  int max_queued_texts = 65'536;
  int max_queued_mb = 256;
  int max_queued_jobs = 1000;
  int index_memory_mb = 1024;
  std::string log_level = "info";
  std::filesystem::path log_file;  // empty: standard error
  int64_t log_file_mb = 64;
};

// The exit code when the program is to end at once: help, version, or a wrong command line.
std::optional<int> ParseServerOptions(int argc, char** argv, ServerOptions* options);

}  // namespace tenon::server
