#include "server/api/dataset_service.h"

#include "common/formats/status.h"
#include "server/api/call_scope.h"
#include "server/api/guarded.h"

namespace tenon::server {

using google::protobuf::Empty;
using grpc::CallbackServerContext;

grpc::ServerReadReactor<v1::UploadDatasetRequest>* DatasetServiceImpl::UploadDataset(
    CallbackServerContext* context, v1::UploadDatasetResponse* response) {
  return Guarded::ClientStream<v1::UploadDatasetRequest, v1::UploadDatasetResponse>(
      runner_, context, response, "tenon.v1.DatasetService/UploadDataset",
      [this](const CallContext& call, StreamReader<v1::UploadDatasetRequest>& reader,
             v1::UploadDatasetResponse* uploaded) {
        ASSIGN_OR_RETURN(*uploaded,
                         datasets_->Upload(ToScope(call), [&](auto* message) { return reader.Read(message); }));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* DatasetServiceImpl::GetDataset(CallbackServerContext* context,
                                                         const v1::GetDatasetRequest* request, v1::Dataset* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.DatasetService/GetDataset",
                           [this](const CallContext& call, const auto& body, v1::Dataset* dataset) {
                             ASSIGN_OR_RETURN(*dataset, datasets_->Get(call.tenant, body.name()));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* DatasetServiceImpl::ListDatasets(CallbackServerContext* context,
                                                           const v1::ListDatasetsRequest* request,
                                                           v1::ListDatasetsResponse* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.DatasetService/ListDatasets",
                           [this](const CallContext& call, const auto& body, v1::ListDatasetsResponse* page) {
                             ASSIGN_OR_RETURN(*page, datasets_->List(call.tenant, body));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* DatasetServiceImpl::DeleteDataset(CallbackServerContext* context,
                                                            const v1::DeleteDatasetRequest* request, Empty* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.DatasetService/DeleteDataset",
                           [this](const CallContext& call, const auto& body, Empty*) {
                             return datasets_->Delete(call.tenant, body.name());
                           });
}

}  // namespace tenon::server
