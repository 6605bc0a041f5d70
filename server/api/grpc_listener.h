// One gRPC server on one address: limits, keepalive, health and reflection in one place.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tenon::server {

class GrpcListener {
 public:
  struct Options {
    std::string address;  // `127.0.0.1:7070`; port 0: any free one
    std::vector<grpc::Service*> services;
    // grpc.health.v1, where "" is SERVING from the start, and reflection. For the public port.
    bool health = false;
    int max_message_bytes = 64 << 20;
    // A peer that answers no ping for so long is gone.
    absl::Duration keepalive_time = absl::Seconds(60);
    absl::Duration keepalive_timeout = absl::Seconds(20);
  };
  // FIELD_INVALID in one line when the address cannot be listened on, as when its port is taken. Services outlive the
  // listener.
  static absl::StatusOr<std::unique_ptr<GrpcListener>> Start(const Options& options);
  // Shuts down at once.
  ~GrpcListener();

  int port() const { return port_; }
  // Health of services by their full names.
  void SetServing(const std::vector<std::string>& services, bool serving);
  // All health to NOT_SERVING, for good.
  void StopServing();
  // New calls are refused; running ones are cancelled after `grace`. Returns when all are over.
  void Shutdown(absl::Duration grace);

 private:
  GrpcListener() = default;

  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace tenon::server
