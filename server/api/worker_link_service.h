// tenon.internal.v1.WorkerLinkService, on the workers' port.
#pragma once

#include "server/api/guarded.h"
#include "server/app/job_scheduler.h"
#include "server/app/worker_link.h"
#include "server/blobs/blob_store.h"
#include "tenon/internal/v1/worker_link_service.grpc.pb.h"

namespace tenon::server {

// Bytes that workers took and gave. Thread-safe.
class BlobObserver {
 public:
  virtual ~BlobObserver() = default;
  virtual void OnFetched(int64_t bytes) = 0;
  virtual void OnPublished(int64_t bytes) = 0;
};

class WorkerLinkService final : public internal::v1::WorkerLinkService::CallbackService {
 public:
  struct Parts {
    CallRunner* runner = nullptr;
    WorkerLink* link = nullptr;
    JobScheduler* jobs = nullptr;
    BlobStore* blobs = nullptr;
    BlobObserver* observer = nullptr;     // may be null
    int64_t max_blob_bytes = 16ll << 30;  // of one published file
  };
  explicit WorkerLinkService(const Parts& parts) : parts_(parts) {}

  grpc::ServerBidiReactor<internal::v1::LinkRequest, internal::v1::LinkResponse>* Link(
      grpc::CallbackServerContext* context) override;
  grpc::ServerBidiReactor<internal::v1::WorkRequest, internal::v1::WorkResponse>* Work(
      grpc::CallbackServerContext* context) override;
  grpc::ServerWriteReactor<internal::v1::FetchBlobResponse>* FetchBlob(
      grpc::CallbackServerContext* context, const internal::v1::FetchBlobRequest* request) override;
  grpc::ServerReadReactor<internal::v1::PublishBlobRequest>* PublishBlob(
      grpc::CallbackServerContext* context, internal::v1::PublishBlobResponse* response) override;
  grpc::ServerUnaryReactor* ReportJob(grpc::CallbackServerContext* context,
                                      const internal::v1::ReportJobRequest* request,
                                      internal::v1::ReportJobResponse* response) override;

 private:
  absl::Status Publish(StreamReader<internal::v1::PublishBlobRequest>& reader);

  const Parts parts_;
};

}  // namespace tenon::server
