#include "client/cli/stack.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cli/output.h"
#include "client/uploads.h"
#include "common/formats/status.h"

namespace tenon::cli {
namespace {

namespace fs = std::filesystem;
constexpr char kLockSuffix[] = ".lock";
constexpr absl::Duration kPoll = absl::Milliseconds(50);
// A worker that gives its jobs back needs seconds; a hung one is not waited for.
constexpr absl::Duration kGrace = absl::Seconds(20);

absl::Status Cancelled() { return TenonError(Reason::kCancelled, "Stopped before it was ready."); }

// `7070`, or `127.0.0.1:7070`.
int PortOf(const nlohmann::json& value) {
  if (value.is_number_integer()) return value.get<int>();
  int port = 0;
  if (value.is_string()) {
    const std::string text = value.get<std::string>();
    if (!absl::SimpleAtoi(text.substr(text.rfind(':') + 1), &port)) return 0;
  }
  return port;
}

std::string HostOf(const std::string& listen) {
  const std::string host = listen.substr(0, listen.rfind(':'));
  // What listens on every address is reached over loopback.
  return host == "0.0.0.0" || host == "[::]" ? "127.0.0.1" : host;
}

}  // namespace

absl::Duration RestartPolicy::NextDelay(absl::Duration lived) {
  if (lived > absl::Minutes(1)) deaths_ = 0;
  ++deaths_;
  if (deaths_ == 1) return absl::ZeroDuration();
  return std::min(absl::Seconds(1) * (1 << std::min(deaths_ - 2, 5)), absl::Seconds(30));
}

fs::path BasesRoot(const std::vector<fs::path>& folders) {
  if (folders.empty()) return {};
  fs::path common = folders[0].parent_path();
  for (const fs::path& folder : folders) {
    const auto above = [&] {
      return std::mismatch(common.begin(), common.end(), folder.begin(), folder.end()).first == common.end();
    };
    while (!above() && common != common.root_path()) common = common.parent_path();
  }
  return common == common.root_path() ? fs::path() : common;
}

std::string Stack::address() const { return absl::StrCat(HostOf(options_.listen), ":", ports_.at("grpc")); }

absl::Status Stack::Dead(const ProcessSpec& spec, const std::string& how) const {
  const std::string& log = &spec == &server_spec_ ? server_log_ : worker_log_;
  std::string words = absl::StrCat("The ", spec.name, " ended (", how, "). The end of ", log, ":\n", Tail(log, 10));
  // What does not go through the log: wrong flags, a failed start, the loader's or the C library's last words.
  if (const std::string said = Tail(spec.log_file, 10); !said.empty()) absl::StrAppend(&words, "\nIt said:\n", said);
  return absl::AbortedError(words);
}

absl::StatusOr<std::map<std::string, int>> Stack::WaitForPorts(const fs::path& file, Process& process,
                                                               const ProcessSpec& spec) {
  while (true) {
    std::ifstream in(file);
    const auto json = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
    if (json.is_object()) {
      std::map<std::string, int> ports;
      for (const auto& [name, value] : json.items()) ports[name] = PortOf(value);
      return ports;
    }
    if (const auto how = process.Ended()) return Dead(spec, *how);
    // A worker may wait for a server that is gone.
    if (const auto how = server_->Ended()) return Dead(server_spec_, *how);
    if (calls_->WaitForCancel(kPoll)) return Cancelled();
  }
}

absl::Status Stack::StartServer() {
  ASSIGN_OR_RETURN(server_spec_.program, ProgramBeside("tenon-server"));
  const fs::path ports_file = options_.data / "run" / "server.json";
  std::error_code error;
  fs::remove(ports_file, error);
  server_spec_.name = "server";
  server_spec_.log_file = (options_.data / "log" / "server.err").string();
  server_log_ = (options_.data / "log" / "server.log").string();
  server_spec_.args = {"--data",           options_.data.string(),  "--listen",         options_.listen,
                       "--workers-listen", options_.workers_listen, "--metrics-listen", options_.metrics_listen,
                       "--ports-file",     ports_file.string(),     "--log-file",       server_log_};
  if (!options_.bases_root.empty()) {
    server_spec_.args.insert(server_spec_.args.end(), {"--bases-root", options_.bases_root.string()});
  }
  server_spec_.args.insert(server_spec_.args.end(), options_.server_args.begin(), options_.server_args.end());
  ASSIGN_OR_RETURN(server_, Process::Start(server_spec_));
  ASSIGN_OR_RETURN(ports_, WaitForPorts(ports_file, *server_, server_spec_));
  for (const char* name : {"grpc", "workers", "metrics"}) {
    if (ports_[name] == 0) return absl::InternalError(absl::StrCat("The server named no port `", name, "`."));
  }
  return absl::OkStatus();
}

absl::Status Stack::StartWorker() {
  ASSIGN_OR_RETURN(worker_spec_.program, ProgramBeside("tenon-worker"));
  const fs::path ports_file = options_.data / "run" / "worker.json";
  std::error_code error;
  fs::remove(ports_file, error);
  worker_spec_.name = "worker";
  worker_spec_.log_file = (options_.data / "log" / "worker.err").string();
  worker_log_ = (options_.data / "log" / "worker.log").string();
  worker_spec_.args = {"--server",         absl::StrCat(HostOf(options_.workers_listen), ":", ports_.at("workers")),
                       "--device",         options_.device,
                       "--cache",          (options_.data / "worker-cache").string(),
                       "--metrics-listen", options_.worker_metrics_listen,
                       "--ports-file",     ports_file.string(),
                       "--log-file",       worker_log_};
  worker_spec_.args.insert(worker_spec_.args.end(), options_.worker_args.begin(), options_.worker_args.end());
  ASSIGN_OR_RETURN(worker_, Process::Start(worker_spec_));
  worker_started_ = absl::Now();
  ASSIGN_OR_RETURN(const auto ports, WaitForPorts(ports_file, *worker_, worker_spec_));
  if (const auto port = ports.find("metrics"); port != ports.end()) ports_["worker_metrics"] = port->second;
  return absl::OkStatus();
}

absl::Status Stack::RegisterBases() {
  for (const auto& [name, folder] : options_.bases) {
    absl::StatusOr<v1::Base> base = client::AddBase(*client_, name, folder);
    if (!base.ok()) return Annotate(base.status(), absl::StrCat("Base ", name, ": "));
    digests_.push_back(base->digest());
  }
  return absl::OkStatus();
}

absl::Status Stack::WaitForWorker() {
  const absl::Time started = absl::Now();
  absl::Time next_note = started + absl::Seconds(10);
  while (true) {
    const absl::StatusOr<v1::ListWorkersResponse> response =
        client_->Call(client_->admin(), &v1::AdminService::Stub::ListWorkers, v1::ListWorkersRequest());
    // The last words of a process that died say more than the call that found nobody.
    if (const auto how = worker_->Ended()) return Dead(worker_spec_, *how);
    if (const auto how = server_->Ended()) return Dead(server_spec_, *how);
    if (!response.ok()) return response.status();
    for (const v1::Worker& worker : response->workers()) {
      const auto holds = [&](const std::string& digest) {
        return std::count(worker.base_digests().begin(), worker.base_digests().end(), digest) > 0;
      };
      if (worker.state() == v1::WORKER_STATE_READY && std::all_of(digests_.begin(), digests_.end(), holds))
        return absl::OkStatus();
    }
    if (absl::Now() > next_note) {
      PrintNote(absl::StrCat("The worker is still loading (",
                             absl::FormatDuration(absl::Trunc(absl::Now() - started, absl::Seconds(1))),
                             "): ", worker_log_));
      next_note += absl::Seconds(10);
    }
    if (calls_->WaitForCancel(kPoll)) return Cancelled();
  }
}

// Whoever finds the file must find its own server: two that write it would also delete each other's.
absl::Status Stack::TakePortsFile() {
  if (options_.ports_file.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(ports_lock_.Take(options_.ports_file + kLockSuffix,
                                   absl::StrCat("Another `tenon up` writes ", options_.ports_file, "."),
                                   "--ports-file"));
  std::error_code error;
  fs::remove(options_.ports_file, error);  // of one that was killed
  return absl::OkStatus();
}

absl::Status Stack::WritePortsFile() const {
  if (options_.ports_file.empty()) return absl::OkStatus();
  // Written whole under another name first: who waits for the file never reads half of it.
  const std::string temporary = absl::StrCat(options_.ports_file, ".", getpid());
  std::ofstream out(temporary);
  out << nlohmann::json(ports_).dump() << "\n";
  out.close();
  std::error_code error;
  if (out) fs::rename(temporary, options_.ports_file, error);
  if (!out || error) return absl::InvalidArgumentError(absl::StrCat("Cannot write ", options_.ports_file, "."));
  return absl::OkStatus();
}

absl::Status Stack::Start() {
  std::error_code error;
  for (const char* folder : {"run", "log", "worker-cache"}) {
    fs::create_directories(options_.data / folder, error);
    if (error)
      return absl::InvalidArgumentError(
          absl::StrCat("Cannot make ", (options_.data / folder).string(), ": ", error.message(), "."));
  }
  // Before anything in the folder is touched: the logs and ports there may be of one that runs.
  RETURN_IF_ERROR(data_lock_.Take((options_.data / "run" / "up.lock").string(),
                                  absl::StrCat("Another `tenon up` runs on ", options_.data.string(), "."), "--data"));
  RETURN_IF_ERROR(TakePortsFile());
  for (const char* words : {"server.err", "worker.err"}) fs::remove(options_.data / "log" / words, error);  // of old
  RETURN_IF_ERROR(StartServer());
  client_ = std::make_unique<client::Client>(client::ClientOptions{.server = address()}, calls_);
  // The bases first: the worker loads them as soon as it connects.
  RETURN_IF_ERROR(RegisterBases());
  RETURN_IF_ERROR(StartWorker());
  RETURN_IF_ERROR(WaitForWorker());
  return WritePortsFile();
}

absl::Status Stack::Supervise() {
  absl::Time restart_at = absl::InfiniteFuture();
  while (!calls_->WaitForCancel(absl::Milliseconds(200))) {
    if (const auto how = server_->Ended()) return Dead(server_spec_, *how);
    if (worker_.has_value()) {
      if (const auto how = worker_->Ended()) {
        const absl::Duration delay = restarts_.NextDelay(absl::Now() - worker_started_);
        PrintNote(absl::StrCat("The worker ended (", *how, "); it starts again",
                               delay > absl::ZeroDuration() ? absl::StrCat(" in ", absl::FormatDuration(delay)) : "",
                               ". Its log: ", worker_log_));
        restart_at = absl::Now() + delay;
        worker_.reset();
      }
    } else if (absl::Now() >= restart_at) {
      const absl::Status started = StartWorker();
      // It may die again at once; the loop sees that and waits longer.
      if (!started.ok() && !worker_.has_value()) return started;
      // On port 0 it has another one now.
      const absl::Status written = started.ok() ? WritePortsFile() : absl::OkStatus();
      if (!written.ok()) PrintNote(std::string(written.message()));
    }
  }
  return absl::OkStatus();
}

void Stack::Stop() {
  if (worker_.has_value() && !worker_->Stop(kGrace)) PrintNote("The worker did not stop in time and was killed.");
  if (server_.has_value() && !server_->Stop(kGrace)) PrintNote("The server did not stop in time and was killed.");
  std::error_code error;
  if (ports_lock_.held()) fs::remove(options_.ports_file, error);  // else it is somebody else's
  ports_lock_.Release();
  data_lock_.Release();
}

}  // namespace tenon::cli
