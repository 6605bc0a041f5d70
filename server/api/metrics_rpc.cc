#include "server/api/metrics_rpc.h"

#include <google/protobuf/descriptor.h>
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace tenon::server {
namespace {

constexpr const char* kCodes[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

const prometheus::Histogram::BucketBoundaries kSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                          0.5,   1,      2.5,   5,    10,    30,   60};

const char* TypeName(const google::protobuf::MethodDescriptor& method) {
  if (method.client_streaming()) return method.server_streaming() ? "bidi_stream" : "client_stream";
  return method.server_streaming() ? "server_stream" : "unary";
}

}  // namespace

const char* CodeName(absl::StatusCode code) {
  const auto index = static_cast<size_t>(code);
  return index < std::size(kCodes) ? kCodes[index] : "Unknown";
}

std::vector<std::string> PublicServices() {
  return {"tenon.v1.FinetuneService",  "tenon.v1.EvalService",    "tenon.v1.InferenceService",
          "tenon.v1.RetrievalService", "tenon.v1.CatalogService", "tenon.v1.DatasetService",
          "tenon.v1.AdminService"};
}

std::vector<std::string> WorkerServices() { return {"tenon.internal.v1.WorkerLinkService"}; }

void RpcMetrics::Method::Started() { started_->Increment(); }
void RpcMetrics::Method::Received() { received_->Increment(); }
void RpcMetrics::Method::Sent() { sent_->Increment(); }

void RpcMetrics::Method::Handled(absl::StatusCode code, double seconds) {
  const auto index = static_cast<size_t>(code);
  handled_[index < handled_.size() ? index : static_cast<size_t>(absl::StatusCode::kUnknown)]->Increment();
  if (seconds_ != nullptr) seconds_->Observe(seconds);
}

RpcMetrics::RpcMetrics(prometheus::Registry& registry, const std::vector<std::string>& services) {
  auto& started =
      prometheus::BuildCounter().Name("grpc_server_started_total").Help("Calls that started.").Register(registry);
  auto& handled = prometheus::BuildCounter()
                      .Name("grpc_server_handled_total")
                      .Help("Calls that finished, by code.")
                      .Register(registry);
  auto& received = prometheus::BuildCounter()
                       .Name("grpc_server_msg_received_total")
                       .Help("Messages received from clients.")
                       .Register(registry);
  auto& sent = prometheus::BuildCounter()
                   .Name("grpc_server_msg_sent_total")
                   .Help("Messages sent to clients.")
                   .Register(registry);
  auto& seconds = prometheus::BuildHistogram()
                      .Name("grpc_server_handling_seconds")
                      .Help("Time from start to finish of calls that do not stream to the client.")
                      .Register(registry);
  const auto add = [&](const std::string& key, const prometheus::Labels& labels, bool timed) {
    Method& method = methods_[key];
    method.started_ = &started.Add(labels);
    method.received_ = &received.Add(labels);
    method.sent_ = &sent.Add(labels);
    for (size_t i = 0; i < method.handled_.size(); ++i) {
      prometheus::Labels with_code = labels;
      with_code["grpc_code"] = kCodes[i];
      method.handled_[i] = &handled.Add(with_code);
    }
    if (timed) method.seconds_ = &seconds.Add(labels, kSeconds);
  };
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const std::string& name : services) {
    const auto* service = pool->FindServiceByName(name);
    if (service == nullptr) continue;  // the table's test names what is missing
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& method = *service->method(i);
      add(name + "/" + method.name(),
          {{"grpc_type", TypeName(method)}, {"grpc_service", name}, {"grpc_method", method.name()}},
          !method.server_streaming());
    }
  }
  add("other", {{"grpc_type", "unary"}, {"grpc_service", "other"}, {"grpc_method", "other"}}, true);
}

RpcMetrics::Method* RpcMetrics::Find(const std::string& method) {
  const auto found = methods_.find(method);
  return found != methods_.end() ? &found->second : &methods_.at("other");
}

}  // namespace tenon::server
