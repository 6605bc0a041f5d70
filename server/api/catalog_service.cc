#include "server/api/catalog_service.h"

#include "common/formats/status.h"
#include "server/api/call_scope.h"
#include "server/api/guarded.h"

namespace tenon::server {

using google::protobuf::Empty;
using grpc::CallbackServerContext;

grpc::ServerReadReactor<v1::UploadBaseRequest>* CatalogServiceImpl::UploadBase(CallbackServerContext* context,
                                                                               v1::Base* response) {
  return Guarded::ClientStream<v1::UploadBaseRequest, v1::Base>(
      runner_, context, response, "tenon.v1.CatalogService/UploadBase",
      [this](const CallContext& call, StreamReader<v1::UploadBaseRequest>& reader, v1::Base* base) {
        ASSIGN_OR_RETURN(*base, bases_->Upload(ToScope(call), [&](auto* message) { return reader.Read(message); }));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* CatalogServiceImpl::RegisterBase(CallbackServerContext* context,
                                                           const v1::RegisterBaseRequest* request, v1::Base* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.CatalogService/RegisterBase",
                           [this](const CallContext& call, const auto& body, v1::Base* base) {
                             ASSIGN_OR_RETURN(*base, bases_->Register(ToScope(call), body));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* CatalogServiceImpl::GetBase(CallbackServerContext* context, const v1::GetBaseRequest* request,
                                                      v1::Base* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.CatalogService/GetBase",
                           [this](const CallContext& call, const auto& body, v1::Base* base) {
                             ASSIGN_OR_RETURN(*base, bases_->Get(call.tenant, body.name()));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* CatalogServiceImpl::ListBases(CallbackServerContext* context,
                                                        const v1::ListBasesRequest* request,
                                                        v1::ListBasesResponse* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.CatalogService/ListBases",
                           [this](const CallContext& call, const auto& body, v1::ListBasesResponse* page) {
                             ASSIGN_OR_RETURN(*page, bases_->List(call.tenant, body));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* CatalogServiceImpl::DeleteBase(CallbackServerContext* context,
                                                         const v1::DeleteBaseRequest* request, Empty* response) {
  return Guarded::Blocking(
      runner_, context, request, response, "tenon.v1.CatalogService/DeleteBase",
      [this](const CallContext& call, const auto& body, Empty*) { return bases_->Delete(call.tenant, body.name()); });
}

grpc::ServerUnaryReactor* CatalogServiceImpl::GetAdapter(CallbackServerContext* context,
                                                         const v1::GetAdapterRequest* request, v1::Adapter* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.CatalogService/GetAdapter",
                           [this](const CallContext& call, const auto& body, v1::Adapter* adapter) {
                             ASSIGN_OR_RETURN(*adapter, adapters_->Get(call.tenant, body.name()));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* CatalogServiceImpl::ListAdapters(CallbackServerContext* context,
                                                           const v1::ListAdaptersRequest* request,
                                                           v1::ListAdaptersResponse* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.CatalogService/ListAdapters",
                           [this](const CallContext& call, const auto& body, v1::ListAdaptersResponse* page) {
                             ASSIGN_OR_RETURN(*page, adapters_->List(call.tenant, body));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* CatalogServiceImpl::DeleteAdapter(CallbackServerContext* context,
                                                            const v1::DeleteAdapterRequest* request, Empty* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.CatalogService/DeleteAdapter",
                           [this](const CallContext& call, const auto& body, Empty*) {
                             return adapters_->Delete(call.tenant, body.name());
                           });
}

grpc::ServerReadReactor<v1::ImportAdapterRequest>* CatalogServiceImpl::ImportAdapter(CallbackServerContext* context,
                                                                                     v1::Adapter* response) {
  return Guarded::ClientStream<v1::ImportAdapterRequest, v1::Adapter>(
      runner_, context, response, "tenon.v1.CatalogService/ImportAdapter",
      [this](const CallContext& call, StreamReader<v1::ImportAdapterRequest>& reader, v1::Adapter* adapter) {
        ASSIGN_OR_RETURN(*adapter,
                         adapters_->Import(ToScope(call), [&](auto* message) { return reader.Read(message); }));
        return absl::OkStatus();
      });
}

grpc::ServerWriteReactor<v1::ExportAdapterResponse>* CatalogServiceImpl::ExportAdapter(
    CallbackServerContext* context, const v1::ExportAdapterRequest* request) {
  return Guarded::ServerStream<v1::ExportAdapterRequest, v1::ExportAdapterResponse>(
      runner_, context, request, "tenon.v1.CatalogService/ExportAdapter",
      [this](const CallContext& call, const v1::ExportAdapterRequest& body,
             StreamWriter<v1::ExportAdapterResponse>& writer) {
        return adapters_->Export(ToScope(call), body, [&](const auto& piece) { return writer.Write(piece); });
      });
}

}  // namespace tenon::server
