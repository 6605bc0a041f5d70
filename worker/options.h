// Command-line options of tenon-worker.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace tenon {

struct WorkerOptions {
  std::string server = "127.0.0.1:7071";
  std::string id;  // host name when empty
  std::string device = "cpu";
  std::string precision = "fp32";
  int threads = 0;
  std::filesystem::path cache;  // ~/.cache/tenon/worker-ID when empty
  std::string metrics_listen = "127.0.0.1:9465";
  std::filesystem::path ports_file;
  int64_t max_batch_tokens = 4096;
  int64_t device_adapters = 256;
  int64_t host_adapter_mb = 2048;
  int64_t disk_adapter_mb = 20480;
  int64_t memory_mb = 0;
  double training_floor = 0.1;
  int drain_seconds = 20;
  std::string log_level = "info";
  std::filesystem::path log_file;  // empty: standard output
  int64_t log_file_mb = 64;
};

// The exit code when the program must end at once (help, a bad flag); the message is printed.
std::optional<int> ParseWorkerOptions(int argc, char** argv, WorkerOptions* options);

}  // namespace tenon
