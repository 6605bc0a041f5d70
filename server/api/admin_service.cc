#include "server/api/admin_service.h"

#include <algorithm>

namespace tenon::server {
namespace {

v1::WorkerState StateOf(WorkerStage stage) {
  switch (stage) {
    case WorkerStage::kLoading:
      return v1::WORKER_STATE_LOADING;
    case WorkerStage::kReady:
      return v1::WORKER_STATE_READY;
    case WorkerStage::kLost:
      return v1::WORKER_STATE_LOST;
  }
  return v1::WORKER_STATE_UNSPECIFIED;
}

void SetTime(absl::Time time, google::protobuf::Timestamp* timestamp) {
  timestamp->set_seconds(absl::ToUnixSeconds(time));
  timestamp->set_nanos(static_cast<int>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(timestamp->seconds()))));
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::ListWorkers(grpc::CallbackServerContext* context,
                                                    const v1::ListWorkersRequest* request,
                                                    v1::ListWorkersResponse* response) {
  return Guarded::Blocking(
      parts_.runner, context, request, response, "tenon.v1.AdminService/ListWorkers",
      [this](const CallContext&, const v1::ListWorkersRequest&, v1::ListWorkersResponse* response) {
        for (const WorkerView& view : parts_.link->Workers()) {
          v1::Worker* worker = response->add_workers();
          worker->set_id(view.identity.id);
          worker->set_device(view.identity.device);
          worker->set_version(view.identity.version);
          worker->set_state(StateOf(view.stage));
          SetTime(view.connect_time, worker->mutable_connect_time());
          worker->mutable_base_digests()->Assign(view.bases.begin(), view.bases.end());
          worker->mutable_jobs()->Assign(view.jobs.begin(), view.jobs.end());
          worker->set_adapters_resident(view.adapters_resident);
          worker->set_memory_bytes(view.identity.memory_bytes);
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* AdminService::GetStatus(grpc::CallbackServerContext* context,
                                                  const v1::GetStatusRequest* request,
                                                  v1::GetStatusResponse* response) {
  return Guarded::Blocking(
      parts_.runner, context, request, response, "tenon.v1.AdminService/GetStatus",
      [this](const CallContext&, const v1::GetStatusRequest&, v1::GetStatusResponse* response) {
        const auto workers = parts_.link->Workers();
        const JobScheduler::Counts jobs = parts_.jobs->counts();
        response->set_version(parts_.version);
        SetTime(parts_.start_time, response->mutable_start_time());
        response->set_ready_workers(static_cast<int>(std::count_if(
            workers.begin(), workers.end(), [](const WorkerView& view) { return view.stage == WorkerStage::kReady; })));
        response->set_queued_jobs(jobs.validating + jobs.queued);
        response->set_running_jobs(jobs.running);
        response->set_queued_requests(parts_.router->load().calls);
        response->set_writable(parts_.store->writable());
        return absl::OkStatus();
      });
}

}  // namespace tenon::server
