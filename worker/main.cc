// tenon-worker: puts the runtime and the link together, and ends in order.
#include <fcntl.h>
#include <grpcpp/channel.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/ids.h"
#include "common/log_file.h"
#include "worker/link/link.h"
#include "worker/link/metrics.h"
#include "worker/options.h"
#include "worker/runtime/runtime.h"

namespace tenon {
namespace {

// Two workers in one cache would remove each other's files.
absl::Status LockCache(const std::filesystem::path& cache) {
  std::error_code error;
  std::filesystem::create_directories(cache, error);
  const int lock = open((cache / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();  // held until the process ends
  if (lock >= 0 && errno == EWOULDBLOCK) {
    return TenonError(Reason::kOptionInvalid, absl::StrCat("another worker uses the cache ", cache.string()), "cache");
  }
  return TenonError(Reason::kOptionInvalid, absl::StrCat("cannot use ", cache.string(), ": ", std::strerror(errno)),
                    "cache");
}

absl::Status WritePorts(const std::filesystem::path& file, int metrics) {
  if (file.empty()) return absl::OkStatus();
  const std::filesystem::path temporary = file.string() + ".tmp";
  std::ofstream out(temporary);
  out << "{\"metrics\": " << metrics << "}\n";
  out.close();
  std::error_code error;
  std::filesystem::rename(temporary, file, error);
  if (out && !error) return absl::OkStatus();
  return TenonError(Reason::kOptionInvalid, absl::StrCat("cannot write ", file.string()), "ports-file");
}

absl::Status SetUpLog(const WorkerOptions& options) {
  if (!options.log_file.empty()) {
    ASSIGN_OR_RETURN(auto sink, OpenLogFile(options.log_file, options.log_file_mb << 20));
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("tenon", std::move(sink)));
  }
  spdlog::set_level(spdlog::level::from_str(options.log_level));
  spdlog::flush_on(spdlog::level::trace);  // the last line is the one that is wanted
  return absl::OkStatus();
}

int64_t MachineMemory() { return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE); }

absl::Status Serve(const WorkerOptions& options, const sigset_t& signals) {
  RETURN_IF_ERROR(CheckId(options.id, "id"));
  ASSIGN_OR_RETURN(const engine::Device device, engine::ParseDevice(options.device));
  ASSIGN_OR_RETURN(const engine::Precision precision, engine::ParsePrecision(options.precision));
  RETURN_IF_ERROR(LockCache(options.cache));

  const auto channel = link::MakeChannel(options.server);
  const std::shared_ptr<link::Stub> stub = internal::v1::WorkerLinkService::NewStub(channel);
  link::ServerClient server(stub);
  ASSIGN_OR_RETURN(const auto cache,
                   link::BlobCache::Open(options.cache, options.disk_adapter_mb << 20,
                                         [&](const v1::FileEntry& entry, const std::filesystem::path& file) {
                                           return server.Fetch(entry, file);
                                         }));
  link::AdapterFiles adapters(cache.get());
  const int64_t memory_bytes = options.memory_mb > 0 ? options.memory_mb << 20 : MachineMemory();
  link::Metrics metrics;
  ASSIGN_OR_RETURN(auto runtime, runtime::Runtime::Create({.device = device,
                                                           .precision = precision,
                                                           .threads = options.threads,
                                                           .max_batch_tokens = options.max_batch_tokens,
                                                           .device_adapters = options.device_adapters,
                                                           .host_adapter_bytes = options.host_adapter_mb << 20,
                                                           .memory_bytes = memory_bytes,
                                                           .training_floor = options.training_floor,
                                                           .scratch = options.cache / "scratch"},
                                                          &adapters, metrics.observer()));
  const std::string session = RandomId(24);
  link::JobRunner jobs({.runtime = runtime.get(),
                        .server = &server,
                        .cache = cache.get(),
                        .adapters = &adapters,
                        .session = session,
                        .scratch = options.cache / "resume",
                        .clock = &Clock::Real(),
                        .on_train_step = [&metrics] { metrics.OnTrainStep(); }});
  link::WorkerLink link(
      {.worker_id = options.id,
       .session = session,
       .device = device.ToString(),
       .version = TENON_VERSION,
       .memory_bytes = memory_bytes,
       .credits = 2 * options.max_batch_tokens},
      {.stub = stub, .runtime = runtime.get(), .cache = cache.get(), .adapters = &adapters, .jobs = &jobs});
  int metrics_port = 0;
  if (!options.metrics_listen.empty()) {
    ASSIGN_OR_RETURN(metrics_port, metrics.Listen(options.metrics_listen));
  }
  metrics.Attach(runtime.get(), &link, cache.get());
  RETURN_IF_ERROR(WritePorts(options.ports_file, metrics_port));
  spdlog::info("worker {} on {} ({}), server {}, metrics on port {}, cache {}", options.id, device.ToString(),
               options.precision, options.server, metrics_port, options.cache.string());
  link.Start();

  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("signal {}: finishing what is here, handing back jobs", signal);
  link.Drain(absl::Seconds(options.drain_seconds));
  metrics.Detach();
  link.Stop();
  jobs.Stop();
  runtime.reset();  // before what it calls back into
  return absl::OkStatus();
}

}  // namespace
}  // namespace tenon

int main(int argc, char** argv) {
  tenon::WorkerOptions options;
  if (const auto code = tenon::ParseWorkerOptions(argc, argv, &options)) return *code;
  if (const absl::Status log = tenon::SetUpLog(options); !log.ok()) {
    std::fprintf(stderr, "tenon-worker: %s\n", std::string(log.message()).c_str());
    return 1;
  }
  // Blocked before any thread starts, so that the main thread alone takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  const absl::Status status = tenon::Serve(options, signals);
  if (status.ok()) return 0;
  spdlog::error("{}", std::string(status.message()));
  std::fprintf(stderr, "tenon-worker: %s\n", std::string(status.message()).c_str());
  return 1;
}
