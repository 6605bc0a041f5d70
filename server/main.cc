// tenon-server: starts, waits for a signal, ends in order.
#include <spdlog/spdlog.h>

#include <csignal>
#include <cstdio>

#include "server/log.h"
#include "server/options.h"
#include "server/server.h"

int main(int argc, char** argv) {
  tenon::server::ServerOptions options;
  if (const auto code = tenon::server::ParseServerOptions(argc, argv, &options)) return *code;
  // Blocked before any thread starts, so that this thread alone takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  auto log = tenon::server::SetUpLog(options.log_level, options.log_file, options.log_file_mb << 20);
  if (!log.ok()) {
    std::fprintf(stderr, "tenon-server: %s\n", std::string(log.status().message()).c_str());
    return 1;
  }
  auto server = tenon::server::Server::Start(options, *log);
  if (!server.ok()) {
    std::fprintf(stderr, "tenon-server: %s\n", std::string(server.status().message()).c_str());
    return 1;
  }
  const auto ports = (*server)->ports();
  spdlog::info("serving: clients on port {}, workers on {}, metrics on {}, data in {}", ports.grpc, ports.workers,
               ports.metrics, options.data.string());
  int signal = 0;
  sigwait(&signals, &signal);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);  // a second one ends the process at once
  spdlog::info("signal {}: ending running calls within {} s", signal, options.drain_seconds);
  (*server)->Shutdown();
  spdlog::info("ended");
  return 0;
}
