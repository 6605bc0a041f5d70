// tenon.v1.DatasetService.
#pragma once

#include "server/api/call_runner.h"
#include "server/app/datasets.h"
#include "tenon/v1/dataset_service.grpc.pb.h"

namespace tenon::server {

class DatasetServiceImpl final : public v1::DatasetService::CallbackService {
 public:
  DatasetServiceImpl(CallRunner* runner, Datasets* datasets) : runner_(runner), datasets_(datasets) {}

  grpc::ServerReadReactor<v1::UploadDatasetRequest>* UploadDataset(grpc::CallbackServerContext* context,
                                                                   v1::UploadDatasetResponse* response) override;
  grpc::ServerUnaryReactor* GetDataset(grpc::CallbackServerContext* context, const v1::GetDatasetRequest* request,
                                       v1::Dataset* response) override;
  grpc::ServerUnaryReactor* ListDatasets(grpc::CallbackServerContext* context, const v1::ListDatasetsRequest* request,
                                         v1::ListDatasetsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteDataset(grpc::CallbackServerContext* context, const v1::DeleteDatasetRequest* request,
                                          google::protobuf::Empty* response) override;

 private:
  CallRunner* const runner_;
  Datasets* const datasets_;
};

}  // namespace tenon::server
