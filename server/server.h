// All rooms put together: one running server.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/options.h"

namespace spdlog {
class logger;
}

namespace tenon::server {

class Server {
 public:
  // Listens and serves when this returns; the ports file is written. IN_USE when another server holds the data folder,
  // FIELD_INVALID when an address cannot be listened on or needs --allow-remote, DISK_FULL, STORAGE_FAULT.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       std::shared_ptr<spdlog::logger> access_log);
  // Shuts down with no time for running calls, unless Shutdown was called.
  ~Server();
  // Health to NOT_SERVING, then new calls are refused and running ones have until the drain's end.
  void Shutdown();

  struct Ports {
    int grpc = 0;
    int workers = 0;
    int metrics = 0;  // 0: none
  };
  Ports ports() const;

 private:
  Server();

  struct Rooms;
  std::unique_ptr<Rooms> rooms_;
};

}  // namespace tenon::server
