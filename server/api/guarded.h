// The one wrapper around every method: tenant, request id, deadline, cancellation, metrics, log line, exception ->
// status.
//
// A gRPC thread never blocks here: `Blocking` handlers and stream bodies run on bounded pools (QUEUE_FULL when those
// are full), `Async` and `AsyncStream` ones start work and answer later. A method is a few lines:
//
//   grpc::ServerUnaryReactor* GetBase(grpc::CallbackServerContext* context, const GetBaseRequest* request, Base*
//   response) override {
//     return Guarded::Blocking(runner_, context, request, response, "tenon.v1.CatalogService/GetBase",
//                              [this](const CallContext& call, const GetBaseRequest& request, Base* response) {
//                                ASSIGN_OR_RETURN(*response, catalog_->GetBase(call.tenant, request));
//                                return absl::OkStatus();
//                              });
//   }
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "common/formats/status.h"
#include "server/api/call_runner.h"
#include "server/api/coalescing_stream.h"
#include "server/api/guarded_reactors.h"

namespace tenon::server {

template <typename Request, typename Response>
using BlockingHandler = std::function<absl::Status(const CallContext&, const Request&, Response*)>;

// Starts work and calls `done` once, from any thread; the response may be written until then, the request read until
// the handler returns. `*on_cancel` may be set: it is called when the client is gone or the deadline passed; the call
// has been answered then and `done` is ignored.
template <typename Request, typename Response>
using AsyncHandler = std::function<void(const CallContext&, const Request&, Response*,
                                        std::function<void(absl::Status)> done, std::function<void()>* on_cancel)>;

// Starts work whose answer is a stream: messages and its one end go to the sink, from any thread. `*on_cancel` as
// above; the sink takes nothing more then.
template <typename Request, typename Response>
using AsyncStreamHandler = std::function<void(
    const CallContext&, const Request&, std::shared_ptr<MessageSink<Response>> sink, std::function<void()>* on_cancel)>;

// May block in reader.Read() and anywhere else.
template <typename Request, typename Response>
using ClientStreamHandler = std::function<absl::Status(const CallContext&, StreamReader<Request>&, Response*)>;
template <typename Request, typename Response>
using ServerStreamHandler = std::function<absl::Status(const CallContext&, const Request&, StreamWriter<Response>&)>;

class Guarded {
 public:
  template <typename Request, typename Response>
  static grpc::ServerUnaryReactor* Blocking(CallRunner* runner, grpc::CallbackServerContext* context,
                                            const Request* request, Response* response, const std::string& method,
                                            std::type_identity_t<BlockingHandler<Request, Response>> handler) {
    auto call = runner->Begin(context, method);
    call->CountReceived();
    auto* reactor = new UnaryReactor(call);
    const bool scheduled =
        runner->calls().Schedule([call, reactor, request, response, handler = std::move(handler)]() mutable {
          absl::Status status = call->Check();
          if (status.ok()) {
            status = RunHandler(call->context(), [&] { return handler(call->context(), *request, response); });
          }
          handler = nullptr;
          reactor->FinishWith(std::move(status));
        });
    if (!scheduled) reactor->FinishWith(PoolFull());
    return reactor;
  }

  template <typename Request, typename Response>
  static grpc::ServerUnaryReactor* Async(CallRunner* runner, grpc::CallbackServerContext* context,
                                         const Request* request, Response* response, const std::string& method,
                                         std::type_identity_t<AsyncHandler<Request, Response>> handler) {
    auto call = runner->Begin(context, method);
    call->CountReceived();
    auto* reactor = new UnaryReactor(call);
    // The handler writes to a response of its own: after a cancel, gRPC's may be gone while the work still runs.
    auto own_response = std::make_shared<Response>();
    auto done = [call, reactor, response, own_response](absl::Status status) {
      if (!call->Claim()) return;
      if (status.ok()) *response = std::move(*own_response);
      reactor->FinishClaimed(std::move(status));
    };
    std::function<void()> on_cancel;
    const absl::Status status = RunHandler(call->context(), [&] {
      RETURN_IF_ERROR(call->Check());
      handler(call->context(), *request, own_response.get(), done, &on_cancel);
      return absl::OkStatus();
    });
    if (!status.ok()) {
      done(status);
      return reactor;
    }
    // From here on the reactor may be gone, unless it is claimed in this function.
    call->context().when_cancelled([call, reactor, on_cancel = std::move(on_cancel)] {
      const bool unanswered = call->Claim();
      if (on_cancel) on_cancel();
      if (!unanswered) return;
      absl::Status why = call->Check();
      if (why.ok()) why = TenonError(Reason::kCancelled, "the client cancelled the call");
      reactor->FinishClaimed(std::move(why));
    });
    return reactor;
  }

  template <typename Request, typename Response>
  static grpc::ServerWriteReactor<Response>* AsyncStream(
      CallRunner* runner, grpc::CallbackServerContext* context, const Request* request, const std::string& method,
      std::type_identity_t<AsyncStreamHandler<Request, Response>> handler) {
    auto call = runner->Begin(context, method);
    call->CountReceived();
    auto* reactor = new CoalescingReactor<Response>(call);
    const auto sink = reactor->sink();
    std::function<void()> on_cancel;
    const absl::Status status = RunHandler(call->context(), [&] {
      RETURN_IF_ERROR(call->Check());
      handler(call->context(), *request, sink, &on_cancel);
      return absl::OkStatus();
    });
    if (!status.ok()) {
      sink->End(status);
      return reactor;
    }
    call->context().when_cancelled([call, sink, on_cancel = std::move(on_cancel)] {
      if (on_cancel) on_cancel();
      sink->End(call->Check());
    });
    return reactor;
  }

  template <typename Request, typename Response>
  static grpc::ServerReadReactor<Request>* ClientStream(CallRunner* runner, grpc::CallbackServerContext* context,
                                                        Response* response, const std::string& method,
                                                        ClientStreamHandler<Request, Response> handler) {
    auto call = runner->Begin(context, method);
    auto* reactor = new ReadReactor<Request>(call);
    const bool scheduled =
        runner->streams().Schedule([call, reactor, response, handler = std::move(handler)]() mutable {
          absl::Status status = call->Check();
          if (status.ok()) {
            status = RunHandler(call->context(), [&] { return handler(call->context(), *reactor, response); });
          }
          handler = nullptr;
          reactor->FinishWith(std::move(status));
        });
    if (!scheduled) reactor->FinishWith(PoolFull());
    return reactor;
  }

  template <typename Request, typename Response>
  static grpc::ServerWriteReactor<Response>* ServerStream(CallRunner* runner, grpc::CallbackServerContext* context,
                                                          const Request* request, const std::string& method,
                                                          ServerStreamHandler<Request, Response> handler) {
    auto call = runner->Begin(context, method);
    call->CountReceived();
    auto* reactor = new WriteReactor<Response>(call);
    const bool scheduled = runner->streams().Schedule([call, reactor, request, handler = std::move(handler)]() mutable {
      absl::Status status = call->Check();
      if (status.ok()) {
        status = RunHandler(call->context(), [&] { return handler(call->context(), *request, *reactor); });
      }
      handler = nullptr;
      reactor->FinishWith(std::move(status));
    });
    if (!scheduled) reactor->FinishWith(PoolFull());
    return reactor;
  }
};

}  // namespace tenon::server
