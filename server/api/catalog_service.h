// tenon.v1.CatalogService.
#pragma once

#include "server/api/call_runner.h"
#include "server/app/catalog_adapters.h"
#include "server/app/catalog_bases.h"
#include "tenon/v1/catalog_service.grpc.pb.h"

namespace tenon::server {

class CatalogServiceImpl final : public v1::CatalogService::CallbackService {
 public:
  CatalogServiceImpl(CallRunner* runner, Bases* bases, Adapters* adapters)
      : runner_(runner), bases_(bases), adapters_(adapters) {}

  grpc::ServerReadReactor<v1::UploadBaseRequest>* UploadBase(grpc::CallbackServerContext* context,
                                                             v1::Base* response) override;
  grpc::ServerUnaryReactor* RegisterBase(grpc::CallbackServerContext* context, const v1::RegisterBaseRequest* request,
                                         v1::Base* response) override;
  grpc::ServerUnaryReactor* GetBase(grpc::CallbackServerContext* context, const v1::GetBaseRequest* request,
                                    v1::Base* response) override;
  grpc::ServerUnaryReactor* ListBases(grpc::CallbackServerContext* context, const v1::ListBasesRequest* request,
                                      v1::ListBasesResponse* response) override;
  grpc::ServerUnaryReactor* DeleteBase(grpc::CallbackServerContext* context, const v1::DeleteBaseRequest* request,
                                       google::protobuf::Empty* response) override;

  grpc::ServerUnaryReactor* GetAdapter(grpc::CallbackServerContext* context, const v1::GetAdapterRequest* request,
                                       v1::Adapter* response) override;
  grpc::ServerUnaryReactor* ListAdapters(grpc::CallbackServerContext* context, const v1::ListAdaptersRequest* request,
                                         v1::ListAdaptersResponse* response) override;
  grpc::ServerUnaryReactor* DeleteAdapter(grpc::CallbackServerContext* context, const v1::DeleteAdapterRequest* request,
                                          google::protobuf::Empty* response) override;
  grpc::ServerReadReactor<v1::ImportAdapterRequest>* ImportAdapter(grpc::CallbackServerContext* context,
                                                                   v1::Adapter* response) override;
  grpc::ServerWriteReactor<v1::ExportAdapterResponse>* ExportAdapter(grpc::CallbackServerContext* context,
                                                                     const v1::ExportAdapterRequest* request) override;

 private:
  CallRunner* const runner_;
  Bases* const bases_;
  Adapters* const adapters_;
};

}  // namespace tenon::server
