// tenon.v1.AdminService.
#pragma once

#include <string>

#include "server/api/guarded.h"
#include "server/app/inference_router.h"
#include "server/app/job_scheduler.h"
#include "server/app/worker_link.h"
#include "server/store/store.h"
#include "tenon/v1/admin_service.grpc.pb.h"

namespace tenon::server {

class AdminService final : public v1::AdminService::CallbackService {
 public:
  struct Parts {
    CallRunner* runner = nullptr;
    const WorkerLink* link = nullptr;
    const LoopInferenceRouter* router = nullptr;
    const JobScheduler* jobs = nullptr;
    const Store* store = nullptr;
    std::string version;
    absl::Time start_time;
  };
  explicit AdminService(const Parts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context, const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override;
  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context, const v1::GetStatusRequest* request,
                                      v1::GetStatusResponse* response) override;

 private:
  const Parts parts_;
};

}  // namespace tenon::server
