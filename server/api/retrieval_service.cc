#include "server/api/retrieval_service.h"

#include <memory>
#include <utility>

#include "common/formats/status.h"
#include "server/api/call_scope.h"
#include "server/api/guarded.h"

namespace tenon::server {
namespace {

using google::protobuf::Empty;
using grpc::CallbackServerContext;

// Runs a blocking `work(scope, request)` on `pool` and answers with what it returns.
template <typename Request, typename Response, typename Work>
AsyncHandler<Request, Response> OnPool(ThreadPool* pool, Work work) {
  return [pool, work](const CallContext& call, const Request& request, Response* response,
                      std::function<void(absl::Status)> done, std::function<void()>*) {
    // The request lives until this function returns, the call as long as its context.
    auto copy = std::make_shared<const Request>(request);
    const bool scheduled = pool->Schedule([call, copy, response, done, work] {
      done(RunHandler(call, [&]() -> absl::Status {
        if (call.cancelled()) return TenonError(Reason::kCancelled, "nobody waits for the answer any more");
        ASSIGN_OR_RETURN(*response, work(ToScope(call), *copy));
        return absl::OkStatus();
      }));
    });
    if (!scheduled) done(PoolFull());
  };
}

}  // namespace

grpc::ServerUnaryReactor* RetrievalServiceImpl::CreateCollection(CallbackServerContext* context,
                                                                 const v1::CreateCollectionRequest* request,
                                                                 v1::Collection* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.RetrievalService/CreateCollection",
                           [this](const CallContext& call, const auto& body, v1::Collection* collection) {
                             ASSIGN_OR_RETURN(*collection, collections_->Create(call.tenant, body));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* RetrievalServiceImpl::GetCollection(CallbackServerContext* context,
                                                              const v1::GetCollectionRequest* request,
                                                              v1::Collection* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.RetrievalService/GetCollection",
                           [this](const CallContext& call, const auto& body, v1::Collection* collection) {
                             ASSIGN_OR_RETURN(*collection, collections_->Get(call.tenant, body.name()));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* RetrievalServiceImpl::ListCollections(CallbackServerContext* context,
                                                                const v1::ListCollectionsRequest* request,
                                                                v1::ListCollectionsResponse* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.RetrievalService/ListCollections",
                           [this](const CallContext& call, const auto& body, v1::ListCollectionsResponse* page) {
                             ASSIGN_OR_RETURN(*page, collections_->List(call.tenant, body));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* RetrievalServiceImpl::DeleteCollection(CallbackServerContext* context,
                                                                 const v1::DeleteCollectionRequest* request,
                                                                 Empty* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.RetrievalService/DeleteCollection",
                           [this](const CallContext& call, const auto& body, Empty*) {
                             return collections_->Delete(call.tenant, body.name());
                           });
}

grpc::ServerUnaryReactor* RetrievalServiceImpl::AddDocuments(CallbackServerContext* context,
                                                             const v1::AddDocumentsRequest* request,
                                                             v1::AddDocumentsResponse* response) {
  return Guarded::Async(runner_, context, request, response, "tenon.v1.RetrievalService/AddDocuments",
                        OnPool<v1::AddDocumentsRequest, v1::AddDocumentsResponse>(
                            &adds_, [this](const CallScope& scope, const v1::AddDocumentsRequest& body) {
                              return documents_->Add(scope, body);
                            }));
}

grpc::ServerUnaryReactor* RetrievalServiceImpl::DeleteDocuments(CallbackServerContext* context,
                                                                const v1::DeleteDocumentsRequest* request,
                                                                v1::DeleteDocumentsResponse* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.RetrievalService/DeleteDocuments",
                           [this](const CallContext& call, const auto& body, v1::DeleteDocumentsResponse* deleted) {
                             ASSIGN_OR_RETURN(*deleted, documents_->Delete(call.tenant, body));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* RetrievalServiceImpl::Retrieve(CallbackServerContext* context,
                                                         const v1::RetrieveRequest* request,
                                                         v1::RetrieveResponse* response) {
  return Guarded::Async(runner_, context, request, response, "tenon.v1.RetrievalService/Retrieve",
                        OnPool<v1::RetrieveRequest, v1::RetrieveResponse>(
                            &searches_, [this](const CallScope& scope, const v1::RetrieveRequest& body) {
                              return documents_->Retrieve(scope, body);
                            }));
}

}  // namespace tenon::server
