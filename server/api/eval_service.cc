#include "server/api/eval_service.h"

#include "common/formats/status.h"
#include "common/ids.h"
#include "server/api/job_watch.h"

namespace tenon::server {

grpc::ServerUnaryReactor* EvalService::CreateEvalJob(grpc::CallbackServerContext* context,
                                                     const v1::CreateEvalJobRequest* request, v1::EvalJob* response) {
  return Guarded::Blocking(
      runner_, context, request, response, "tenon.v1.EvalService/CreateEvalJob",
      [this](const CallContext& call, const v1::CreateEvalJobRequest& request, v1::EvalJob* response) -> absl::Status {
        ASSIGN_OR_RETURN(*response, scheduler_->CreateEval(call.tenant, request));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* EvalService::GetEvalJob(grpc::CallbackServerContext* context,
                                                  const v1::GetEvalJobRequest* request, v1::EvalJob* response) {
  return Guarded::Blocking(
      runner_, context, request, response, "tenon.v1.EvalService/GetEvalJob",
      [this](const CallContext& call, const v1::GetEvalJobRequest& request, v1::EvalJob* response) -> absl::Status {
        ASSIGN_OR_RETURN(*response, scheduler_->GetEval(call.tenant, request.name()));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* EvalService::ListEvalJobs(grpc::CallbackServerContext* context,
                                                    const v1::ListEvalJobsRequest* request,
                                                    v1::ListEvalJobsResponse* response) {
  return Guarded::Blocking(runner_, context, request, response, "tenon.v1.EvalService/ListEvalJobs",
                           [this](const CallContext& call, const v1::ListEvalJobsRequest& request,
                                  v1::ListEvalJobsResponse* response) -> absl::Status {
                             ASSIGN_OR_RETURN(*response, scheduler_->ListEval(call.tenant, request));
                             return absl::OkStatus();
                           });
}

grpc::ServerUnaryReactor* EvalService::CancelEvalJob(grpc::CallbackServerContext* context,
                                                     const v1::CancelEvalJobRequest* request, v1::EvalJob* response) {
  return Guarded::Blocking(
      runner_, context, request, response, "tenon.v1.EvalService/CancelEvalJob",
      [this](const CallContext& call, const v1::CancelEvalJobRequest& request, v1::EvalJob* response) -> absl::Status {
        ASSIGN_OR_RETURN(*response, scheduler_->CancelEval(call.tenant, request.name()));
        return absl::OkStatus();
      });
}

grpc::ServerWriteReactor<v1::WatchEvalJobResponse>* EvalService::WatchEvalJob(grpc::CallbackServerContext* context,
                                                                              const v1::WatchEvalJobRequest* request) {
  return Guarded::ServerStream<v1::WatchEvalJobRequest, v1::WatchEvalJobResponse>(
      runner_, context, request, "tenon.v1.EvalService/WatchEvalJob",
      [this](const CallContext& call, const v1::WatchEvalJobRequest& request,
             StreamWriter<v1::WatchEvalJobResponse>& writer) -> absl::Status {
        if (request.after_sequence() < 0) {
          return TenonError(Reason::kFieldInvalid, "after_sequence must not be negative", "after_sequence");
        }
        ASSIGN_OR_RETURN(const std::string id, ParseName("evalJobs", request.name(), "name"));
        const std::string name = "evalJobs/" + id;
        return WatchJob<v1::WatchEvalJobResponse, v1::EvalJob>(
            call, *scheduler_, name, request.after_sequence(), [&] { return scheduler_->GetEval(call.tenant, name); },
            &v1::WatchEvalJobResponse::mutable_eval_job, writer);
      });
}

}  // namespace tenon::server
