#include "client/tenon_client.h"

#include <arpa/inet.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::client {
namespace {

// Replies hold up to 1024 texts or vectors; the gRPC default is 4 MiB.
constexpr int kMaxMessageBytes = 64 << 20;

std::string HostOf(const std::string& server) {
  if (absl::StartsWith(server, "[")) return server.substr(1, server.find(']') - 1);
  return server.substr(0, server.rfind(':'));
}

// `Connection refused` of gRPC's chain of causes.
std::string LastPart(const std::string& message) {
  const size_t colon = message.rfind(": ");
  return colon == std::string::npos ? message : message.substr(colon + 2);
}

}  // namespace

Client::Client(ClientOptions options, Calls* calls)
    : options_(std::move(options)),
      own_calls_(calls == nullptr ? std::make_unique<Calls>() : nullptr),
      calls_(calls == nullptr ? own_calls_.get() : calls) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  // A server that restarts is found again within a second, not within gRPC's two minutes. (Not
  // GRPC_ARG_MIN_RECONNECT_BACKOFF_MS: that one is how long a connection may take to come up.)
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A machine that vanished without a word ends a watch, or an upload, after 40 s. (The server allows a ping every 5
  // s.)
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // The address is where the server is; a proxy of the environment is for the web.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  channel_ = grpc::CreateCustomChannel(options_.server, grpc::InsecureChannelCredentials(), arguments);
  finetune_ = v1::FinetuneService::NewStub(channel_);
  eval_ = v1::EvalService::NewStub(channel_);
  inference_ = v1::InferenceService::NewStub(channel_);
  retrieval_ = v1::RetrievalService::NewStub(channel_);
  catalog_ = v1::CatalogService::NewStub(channel_);
  datasets_ = v1::DatasetService::NewStub(channel_);
  admin_ = v1::AdminService::NewStub(channel_);
}

bool Client::IsLoopback() const {
  if (absl::StartsWith(options_.server, "unix:")) return true;
  const std::string host = HostOf(options_.server);
  in_addr address;
  if (inet_pton(AF_INET, host.c_str(), &address) == 1) return (ntohl(address.s_addr) >> 24) == 127;
  return host == "localhost" || host == "::1";
}

absl::Status Client::Decode(const grpc::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  if (calls_->cancelled() && status.error_code() == grpc::StatusCode::CANCELLED) {
    return TenonError(Reason::kCancelled, "The call was cancelled.");
  }
  const absl::Status decoded = FromGrpcStatus(status);
  if (GetReason(decoded) != Reason::kUnspecified) return decoded;
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return absl::UnavailableError(absl::StrCat("No answer from a Tenon server at ", options_.server, ": ",
                                                 LastPart(status.error_message()), "."));
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return TenonError(Reason::kDeadlineExceeded,
                        absl::StrCat("No answer within ", absl::FormatDuration(options_.timeout), "."));
    default:
      return decoded;
  }
}

Client::Context::Context(Client& client, absl::Duration timeout) : calls_(client.calls()) {
  if (timeout < absl::InfiniteDuration()) context_.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  calls_.Add(&context_);
}

}  // namespace tenon::client
