// A server and a worker on this machine, as `tenon up` runs them.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/calls.h"
#include "client/cli/lock_file.h"
#include "client/cli/process.h"
#include "client/tenon_client.h"

namespace tenon::cli {

struct StackOptions {
  std::vector<std::pair<std::string, std::filesystem::path>> bases;  // name, folder
  std::filesystem::path data;
  std::filesystem::path bases_root;  // empty: none, every base is uploaded
  std::string ports_file;            // empty: none is written
  std::string listen = "127.0.0.1:7070";
  std::string workers_listen = "127.0.0.1:7071";
  std::string metrics_listen = "127.0.0.1:9464";
  std::string worker_metrics_listen = "127.0.0.1:9465";
  std::string device = "cpu";
  std::vector<std::string> server_args, worker_args;  // passed on as they are
};

// When to start a worker again that died: at once the first time, then after twice as long each time, up to 30 s. A
// worker that lived a minute starts from the beginning. Pure.
class RestartPolicy {
 public:
  absl::Duration NextDelay(absl::Duration lived);

 private:
  int deaths_ = 0;
};

// Deepest folder that all of `folders` lie below: what the server may register in place. Empty when that is `/`, which
// would open every file of the machine to it.
std::filesystem::path BasesRoot(const std::vector<std::filesystem::path>& folders);

// Not thread-safe.
class Stack {
 public:
  Stack(StackOptions options, client::Calls* calls) : options_(std::move(options)), calls_(calls) {}

  // Starts both, registers the bases, waits until a worker can serve them, and writes the ports file.
  absl::Status Start();
  // Watches over both until Ctrl-C, or until the server ends, which is an error.
  absl::Status Supervise();
  // The worker first, which gives its work back; then the server.
  void Stop();

  // `grpc`, `workers`, `metrics`, `worker_metrics`.
  const std::map<std::string, int>& ports() const { return ports_; }
  std::string address() const;
  const StackOptions& options() const { return options_; }

 private:
  absl::Status StartServer();
  absl::Status StartWorker();
  absl::Status RegisterBases();
  absl::Status WaitForWorker();
  // Waits for `file` to hold ports; the process' end is an error with its last words.
  absl::StatusOr<std::map<std::string, int>> WaitForPorts(const std::filesystem::path& file, Process& process,
                                                          const ProcessSpec& spec);
  absl::Status TakePortsFile();
  absl::Status WritePortsFile() const;
  // Error of a process that ended, with the last lines of its log.
  absl::Status Dead(const ProcessSpec& spec, const std::string& how) const;

  const StackOptions options_;
  client::Calls* const calls_;
  std::map<std::string, int> ports_;
  std::vector<std::string> digests_;
  ProcessSpec server_spec_, worker_spec_;
  std::string server_log_, worker_log_;
  LockFile data_lock_, ports_lock_;  // held while the data folder and the ports file are ours
  std::optional<Process> server_, worker_;
  absl::Time worker_started_;
  RestartPolicy restarts_;
  std::unique_ptr<client::Client> client_;
};

}  // namespace tenon::cli
