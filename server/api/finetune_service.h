// tenon.v1.FinetuneService over the job scheduler.
#pragma once

#include "server/api/guarded.h"
#include "server/app/job_scheduler.h"
#include "tenon/v1/finetune_service.grpc.pb.h"

namespace tenon::server {

class FinetuneService final : public v1::FinetuneService::CallbackService {
 public:
  // Both outlive the service.
  FinetuneService(CallRunner* runner, JobScheduler* scheduler) : runner_(runner), scheduler_(scheduler) {}

  grpc::ServerUnaryReactor* CreateFinetuneJob(grpc::CallbackServerContext* context,
                                              const v1::CreateFinetuneJobRequest* request,
                                              v1::FinetuneJob* response) override;
  grpc::ServerUnaryReactor* GetFinetuneJob(grpc::CallbackServerContext* context,
                                           const v1::GetFinetuneJobRequest* request,
                                           v1::FinetuneJob* response) override;
  grpc::ServerUnaryReactor* ListFinetuneJobs(grpc::CallbackServerContext* context,
                                             const v1::ListFinetuneJobsRequest* request,
                                             v1::ListFinetuneJobsResponse* response) override;
  grpc::ServerUnaryReactor* CancelFinetuneJob(grpc::CallbackServerContext* context,
                                              const v1::CancelFinetuneJobRequest* request,
                                              v1::FinetuneJob* response) override;
  grpc::ServerWriteReactor<v1::WatchFinetuneJobResponse>* WatchFinetuneJob(
      grpc::CallbackServerContext* context, const v1::WatchFinetuneJobRequest* request) override;

 private:
  CallRunner* const runner_;
  JobScheduler* const scheduler_;
};

}  // namespace tenon::server
