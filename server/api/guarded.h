// The one wrapper around every method: tenant, request id, deadline, metrics, log line, exception -> status.
//
// A gRPC thread never blocks here: `Blocking` handlers run on a bounded pool (QUEUE_FULL when that is full), `Async` ones on the event
// loop's callbacks.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tenon::server {

// What a handler knows of its call.
struct CallContext {
  std::string tenant;      // whose credential made the call
  std::string request_id;  // of the log line and of INTERNAL errors
  std::string peer;        // `ipv4:127.0.0.1:40000`
  bool loopback = false;
  absl::Time deadline = absl::InfiniteFuture();
  // Whether the client is gone. Thread-safe.
  std::function<bool()> cancelled;
};

class CallRunner;  // pool, metrics, log, clock: server/api/call_runner.h

// Runs `handler` on the pool and finishes the call with its status.
//   return Guarded::Blocking(runner_, context, request, response, "tenon.v1.CatalogService/GetBase",
//                            [this](const CallContext& call, const GetBaseRequest& request, Base* response) { ... });
template <typename Request, typename Response>
using BlockingHandler = std::function<absl::Status(const CallContext&, const Request&, Response*)>;

// Starts work and calls `done` once, from any thread. `on_cancel` may be set by the handler.
template <typename Request, typename Response>
using AsyncHandler = std::function<void(const CallContext&, const Request&, Response*,
                                        std::function<void(absl::Status)> done, std::function<void()>* on_cancel)>;

}  // namespace tenon::server
