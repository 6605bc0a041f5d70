// A connection to a Tenon server: stubs, deadlines, and errors with their reason and field.
//
//   Client client({.server = "127.0.0.1:7070"});
//   v1::ClassifyRequest request;
//   request.set_adapter("tickets");
//   request.add_texts("Where is my parcel?");
//   ASSIGN_OR_RETURN(v1::ClassifyResponse reply, client.Call(client.inference(), &v1::InferenceService::Stub::Classify,
//   request));
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/calls.h"
#include "common/status_proto.h"
#include "tenon/v1/admin_service.grpc.pb.h"
#include "tenon/v1/catalog_service.grpc.pb.h"
#include "tenon/v1/dataset_service.grpc.pb.h"
#include "tenon/v1/eval_service.grpc.pb.h"
#include "tenon/v1/finetune_service.grpc.pb.h"
#include "tenon/v1/inference_service.grpc.pb.h"
#include "tenon/v1/retrieval_service.grpc.pb.h"

namespace tenon::client {

struct ClientOptions {
  std::string server = "127.0.0.1:7070";
  // Of one call; streams that carry files, and watches, have none.
  absl::Duration timeout = absl::Seconds(60);
};

// Thread-safe. Connects at the first call.
class Client {
 public:
  // `calls` may be null; it outlives the client.
  explicit Client(ClientOptions options, Calls* calls = nullptr);

  v1::FinetuneService::Stub& finetune() { return *finetune_; }
  v1::EvalService::Stub& eval() { return *eval_; }
  v1::InferenceService::Stub& inference() { return *inference_; }
  v1::RetrievalService::Stub& retrieval() { return *retrieval_; }
  v1::CatalogService::Stub& catalog() { return *catalog_; }
  v1::DatasetService::Stub& datasets() { return *datasets_; }
  v1::AdminService::Stub& admin() { return *admin_; }

  const ClientOptions& options() const { return options_; }
  Calls& calls() { return *calls_; }
  // Whether the server's address is of this machine alone.
  bool IsLoopback() const;

  // One call's context: counted among the calls that can be cancelled, with a deadline when `timeout` is finite.
  class Context {
   public:
    Context(Client& client, absl::Duration timeout);
    ~Context() { calls_.Remove(&context_); }
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
    grpc::ClientContext* get() { return &context_; }

   private:
    Calls& calls_;
    grpc::ClientContext context_;
  };

  // A unary call. Errors carry reason and field (common/formats/status.h); an unreachable server is UNAVAILABLE and
  // named.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request) {
    Context context(*this, options_.timeout);
    Response response;
    const grpc::Status status = (stub.*method)(context.get(), request, &response);
    if (!status.ok()) return Decode(status);
    return response;
  }

  // The server's error, or ours when none was reached or the call was cancelled or late.
  absl::Status Decode(const grpc::Status& status) const;

 private:
  const ClientOptions options_;
  std::unique_ptr<Calls> own_calls_;
  Calls* const calls_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::FinetuneService::Stub> finetune_;
  std::unique_ptr<v1::EvalService::Stub> eval_;
  std::unique_ptr<v1::InferenceService::Stub> inference_;
  std::unique_ptr<v1::RetrievalService::Stub> retrieval_;
  std::unique_ptr<v1::CatalogService::Stub> catalog_;
  std::unique_ptr<v1::DatasetService::Stub> datasets_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

// Every page of a list method: `list(page_token)` answers one page.
template <typename Response, typename ListPage, typename Take>
absl::Status ForEachPage(const ListPage& list, const Take& take) {
  std::string token;
  do {
    absl::StatusOr<Response> page = list(token);
    if (!page.ok()) return page.status();
    take(*page);
    token = page->next_page_token();
  } while (!token.empty());
  return absl::OkStatus();
}

}  // namespace tenon::client
