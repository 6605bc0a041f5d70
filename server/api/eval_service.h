// tenon.v1.EvalService over the job scheduler.
#pragma once

#include "server/api/guarded.h"
#include "server/app/job_scheduler.h"
#include "tenon/v1/eval_service.grpc.pb.h"

namespace tenon::server {

class EvalService final : public v1::EvalService::CallbackService {
 public:
  // Both outlive the service.
  EvalService(CallRunner* runner, JobScheduler* scheduler) : runner_(runner), scheduler_(scheduler) {}

  grpc::ServerUnaryReactor* CreateEvalJob(grpc::CallbackServerContext* context, const v1::CreateEvalJobRequest* request,
                                          v1::EvalJob* response) override;
  grpc::ServerUnaryReactor* GetEvalJob(grpc::CallbackServerContext* context, const v1::GetEvalJobRequest* request,
                                       v1::EvalJob* response) override;
  grpc::ServerUnaryReactor* ListEvalJobs(grpc::CallbackServerContext* context, const v1::ListEvalJobsRequest* request,
                                         v1::ListEvalJobsResponse* response) override;
  grpc::ServerUnaryReactor* CancelEvalJob(grpc::CallbackServerContext* context, const v1::CancelEvalJobRequest* request,
                                          v1::EvalJob* response) override;
  grpc::ServerWriteReactor<v1::WatchEvalJobResponse>* WatchEvalJob(grpc::CallbackServerContext* context,
                                                                   const v1::WatchEvalJobRequest* request) override;

 private:
  CallRunner* const runner_;
  JobScheduler* const scheduler_;
};

}  // namespace tenon::server
