// The grpc_server_* metrics, by the names that dashboards for gRPC expect (go-grpc-middleware's).
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace prometheus {
class Counter;
class Histogram;
class Registry;
}  // namespace prometheus

namespace tenon::server {

// Every method of the services it is given exists from the start with zeros. Thread-safe once made.
class RpcMetrics {
 public:
  class Method {
   public:
    void Started();
    // Also observes the time, except of streams to the client: those last as long as somebody watches.
    void Handled(absl::StatusCode code, double seconds);
    void Received();
    void Sent();

   private:
    friend class RpcMetrics;
    prometheus::Counter* started_ = nullptr;
    prometheus::Counter* received_ = nullptr;
    prometheus::Counter* sent_ = nullptr;
    std::array<prometheus::Counter*, 17> handled_ = {};
    prometheus::Histogram* seconds_ = nullptr;  // null for streams to the client
  };

  // `services` are full names whose descriptors are linked in.
  RpcMetrics(prometheus::Registry& registry, const std::vector<std::string>& services);
  // `tenon.v1.CatalogService/GetBase`. A method of no such service is counted as `other`.
  Method* Find(const std::string& method);

 private:
  std::map<std::string, Method> methods_;
};

// Services of the public port and of the workers' port.
std::vector<std::string> PublicServices();
std::vector<std::string> WorkerServices();

// `OK`, `NotFound`, ...
const char* CodeName(absl::StatusCode code);

}  // namespace tenon::server
