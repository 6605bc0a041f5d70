#include "server/api/grpc_listener.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/formats/status.h"

namespace tenon::server {
namespace {

int Milliseconds(absl::Duration duration) { return static_cast<int>(absl::ToInt64Milliseconds(duration)); }

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcListener>> GrpcListener::Start(const Options& options) {
  // Both are switches for every server that is built behind them.
  grpc::EnableDefaultHealthCheckService(options.health);
  if (options.health) grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  auto listener = std::unique_ptr<GrpcListener>(new GrpcListener);
  grpc::ServerBuilder builder;
  // Without this two servers share a port in silence.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddListeningPort(options.address, grpc::InsecureServerCredentials(), &listener->port_);
  builder.SetMaxReceiveMessageSize(options.max_message_bytes);
  builder.SetMaxSendMessageSize(options.max_message_bytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive_time));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(options.keepalive_timeout));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Clients may ping every 5 s, with or without calls; gRPC's own default answers that with GOAWAY.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 4096);
  for (grpc::Service* service : options.services) builder.RegisterService(service);
  listener->server_ = builder.BuildAndStart();
  if (listener->server_ == nullptr || listener->port_ == 0) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat("cannot listen on ", options.address,
                                                          ": the port is taken, or the address is not this machine's"));
  }
  return listener;
}

GrpcListener::~GrpcListener() { Shutdown(absl::ZeroDuration()); }

void GrpcListener::SetServing(const std::vector<std::string>& services, bool serving) {
  if (auto* health = server_->GetHealthCheckService(); health != nullptr) {
    for (const std::string& service : services) health->SetServingStatus(service, serving);
  }
}

void GrpcListener::StopServing() {
  if (auto* health = server_->GetHealthCheckService(); health != nullptr) health->Shutdown();
}

void GrpcListener::Shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  server_->Wait();
  server_.reset();
}

}  // namespace tenon::server
