#include "server/api/finetune_service.h"

#include "common/formats/status.h"
#include "common/ids.h"
#include "server/api/job_watch.h"

namespace tenon::server {

grpc::ServerUnaryReactor* FinetuneService::CreateFinetuneJob(grpc::CallbackServerContext* context,
                                                             const v1::CreateFinetuneJobRequest* request,
                                                             v1::FinetuneJob* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.FinetuneService/CreateFinetuneJob",
                           [this](const CallContext& call, const v1::CreateFinetuneJobRequest& request,
                                  v1::FinetuneJob* response) -> absl::Status {
                             ASSIGN_OR_RETURN(*response, scheduler_->CreateFinetune(call.tenant, request));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* FinetuneService::GetFinetuneJob(grpc::CallbackServerContext* context,
                                                          const v1::GetFinetuneJobRequest* request,
                                                          v1::FinetuneJob* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.FinetuneService/GetFinetuneJob",
                           [this](const CallContext& call, const v1::GetFinetuneJobRequest& request,
                                  v1::FinetuneJob* response) -> absl::Status {
                             ASSIGN_OR_RETURN(*response, scheduler_->GetFinetune(call.tenant, request.name()));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* FinetuneService::ListFinetuneJobs(grpc::CallbackServerContext* context,
                                                            const v1::ListFinetuneJobsRequest* request,
                                                            v1::ListFinetuneJobsResponse* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.FinetuneService/ListFinetuneJobs",
                           [this](const CallContext& call, const v1::ListFinetuneJobsRequest& request,
                                  v1::ListFinetuneJobsResponse* response) -> absl::Status {
                             ASSIGN_OR_RETURN(*response, scheduler_->ListFinetune(call.tenant, request));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* FinetuneService::CancelFinetuneJob(grpc::CallbackServerContext* context,
                                                             const v1::CancelFinetuneJobRequest* request,
                                                             v1::FinetuneJob* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.FinetuneService/CancelFinetuneJob",
                           [this](const CallContext& call, const v1::CancelFinetuneJobRequest& request,
                                  v1::FinetuneJob* response) -> absl::Status {
                             ASSIGN_OR_RETURN(*response, scheduler_->CancelFinetune(call.tenant, request.name()));
                             return absl::OkStatus();
                           });
}

grpc::ServerWriteReactor<v1::WatchFinetuneJobResponse>* FinetuneService::WatchFinetuneJob(
    grpc::CallbackServerContext* context, const v1::WatchFinetuneJobRequest* request) {
  return Guarded::ServerStream<v1::WatchFinetuneJobRequest, v1::WatchFinetuneJobResponse>(
      runner_, context, request, "tenon.v1.FinetuneService/WatchFinetuneJob",
      [this](const CallContext& call, const v1::WatchFinetuneJobRequest& request,
             StreamWriter<v1::WatchFinetuneJobResponse>& writer) -> absl::Status {
        if (request.after_sequence() < 0) {
          return TenonError(Reason::kFieldInvalid, "after_sequence must not be negative", "after_sequence");
        }
        ASSIGN_OR_RETURN(const std::string id, ParseName("finetuneJobs", request.name(), "name"));
        const std::string name = "finetuneJobs/" + id;
        return WatchJob<v1::WatchFinetuneJobResponse, v1::FinetuneJob>(
            call, *scheduler_, name, request.after_sequence(),
            [&] { return scheduler_->GetFinetune(call.tenant, name); },
            &v1::WatchFinetuneJobResponse::mutable_finetune_job, writer);
      });
}

}  // namespace tenon::server
