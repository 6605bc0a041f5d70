// tenon.v1.RetrievalService.
//
// Adding and searching wait for workers, so they have threads of their own: while they are slow, every other call keeps
// its pool.
#pragma once

#include "server/api/call_runner.h"
#include "server/api/thread_pool.h"
#include "server/app/documents.h"
#include "tenon/v1/retrieval_service.grpc.pb.h"

namespace tenon::server {

class RetrievalServiceImpl final : public v1::RetrievalService::CallbackService {
 public:
  RetrievalServiceImpl(CallRunner* runner, Collections* collections, Documents* documents)
      : runner_(runner), collections_(collections), documents_(documents) {}

  grpc::ServerUnaryReactor* CreateCollection(grpc::CallbackServerContext* context,
                                             const v1::CreateCollectionRequest* request,
                                             v1::Collection* response) override;
  grpc::ServerUnaryReactor* GetCollection(grpc::CallbackServerContext* context, const v1::GetCollectionRequest* request,
                                          v1::Collection* response) override;
  grpc::ServerUnaryReactor* ListCollections(grpc::CallbackServerContext* context,
                                            const v1::ListCollectionsRequest* request,
                                            v1::ListCollectionsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteCollection(grpc::CallbackServerContext* context,
                                             const v1::DeleteCollectionRequest* request,
                                             google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* AddDocuments(grpc::CallbackServerContext* context, const v1::AddDocumentsRequest* request,
                                         v1::AddDocumentsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteDocuments(grpc::CallbackServerContext* context,
                                            const v1::DeleteDocumentsRequest* request,
                                            v1::DeleteDocumentsResponse* response) override;
  grpc::ServerUnaryReactor* Retrieve(grpc::CallbackServerContext* context, const v1::RetrieveRequest* request,
                                     v1::RetrieveResponse* response) override;

 private:
  CallRunner* const runner_;
  Collections* const collections_;
  Documents* const documents_;
  ThreadPool adds_{8, 64};
  ThreadPool searches_{16, 256};
};

}  // namespace tenon::server
