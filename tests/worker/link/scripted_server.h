// The server's side of WorkerLinkService on loopback, led by a test: what it says is scripted, what it hears is kept.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "tenon/internal/v1/worker_link_service.grpc.pb.h"

namespace tenon::testing {

namespace pb = internal::v1;

// Thread-safe.
class ScriptedServer final : public pb::WorkerLinkService::Service {
 public:
  ScriptedServer();
  ~ScriptedServer() override;

  // Closes every stream and the port; Restart listens on the same port again, with what it knows.
  void Shutdown();
  void Restart();
  std::string address() const;

  // A blob that FetchBlob has; its digest.
  std::string AddBlob(const std::string& bytes);
  // Named files as a manifest.
  google::protobuf::RepeatedPtrField<v1::FileEntry> AddFiles(const std::map<std::string, std::string>& files);
  // What FetchBlob sends for a digest instead of its bytes.
  void Corrupt(const std::string& sha256, const std::string& bytes);
  // FetchBlob of the digest sends a first piece, and then nothing until LetGo.
  void Hang(const std::string& sha256);
  void LetGo();
  // The next FetchBlob fails so.
  void RefuseFetch(const absl::Status& status);
  // The next Link stream is welcomed and written to, but not read from until it ends.
  void ReadNoLink();

  // Sends on the stream that is open; waits for one.
  void SendLink(const pb::LinkResponse& message);
  void SendWork(const pb::WorkResponse& message);
  // The Work stream is not read while it is stalled.
  void StallWork(bool stalled);
  // Ends the open Link stream.
  void CloseLink();

  // Jobs that the next Welcome tells the worker to drop.
  void DropAtWelcome(const pb::JobHold& hold);
  // Decides the answer to a report or a publish; OK by default. Called on gRPC's threads.
  void OnReport(std::function<absl::Status(const pb::ReportJobRequest&)> decide);
  void OnPublish(std::function<absl::Status(const pb::PublishBlobRequest::Header&)> decide);

  // What was heard so far.
  std::vector<pb::Hello> hellos() const;
  std::vector<pb::ReportJobRequest> reports() const;
  std::map<std::string, std::string> published() const;  // by digest
  int64_t fetches() const;
  int64_t credits() const;

  // These wait half a minute at most; false then.
  bool WaitForHellos(size_t count) const;
  bool WaitForWork(bool open) const;
  // The next message of the kind that was not taken yet.
  pb::LinkRequest TakeLink();
  // Deltas and results, in the order in which they came.
  pb::WorkRequest TakeWork();
  pb::InferenceResult TakeResult() { return TakeWork().result(); }
  // The first report that fits.
  pb::ReportJobRequest WaitForReport(const std::function<bool(const pb::ReportJobRequest&)>& fits);

  // --- The service.
  grpc::Status Link(grpc::ServerContext* context,
                    grpc::ServerReaderWriter<pb::LinkResponse, pb::LinkRequest>* stream) override;
  grpc::Status Work(grpc::ServerContext* context,
                    grpc::ServerReaderWriter<pb::WorkResponse, pb::WorkRequest>* stream) override;
  grpc::Status FetchBlob(grpc::ServerContext* context, const pb::FetchBlobRequest* request,
                         grpc::ServerWriter<pb::FetchBlobResponse>* writer) override;
  grpc::Status PublishBlob(grpc::ServerContext* context, grpc::ServerReader<pb::PublishBlobRequest>* reader,
                           pb::PublishBlobResponse* response) override;
  grpc::Status ReportJob(grpc::ServerContext* context, const pb::ReportJobRequest* request,
                         pb::ReportJobResponse* response) override;

 private:
  void Listen();

  mutable absl::Mutex mutex_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::map<std::string, std::string> blobs_ ABSL_GUARDED_BY(mutex_), published_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> corrupt_ ABSL_GUARDED_BY(mutex_);
  bool read_links_ ABSL_GUARDED_BY(mutex_) = true;
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  std::string hanging_ ABSL_GUARDED_BY(mutex_);
  std::vector<pb::Hello> hellos_ ABSL_GUARDED_BY(mutex_);
  std::vector<pb::LinkRequest> link_messages_ ABSL_GUARDED_BY(mutex_);
  std::vector<pb::WorkRequest> work_messages_ ABSL_GUARDED_BY(mutex_);
  bool work_stalled_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<pb::ReportJobRequest> reports_ ABSL_GUARDED_BY(mutex_);
  std::vector<pb::JobHold> drops_ ABSL_GUARDED_BY(mutex_);
  std::function<absl::Status(const pb::ReportJobRequest&)> on_report_ ABSL_GUARDED_BY(mutex_);
  std::function<absl::Status(const pb::PublishBlobRequest::Header&)> on_publish_ ABSL_GUARDED_BY(mutex_);
  grpc::ServerReaderWriter<pb::LinkResponse, pb::LinkRequest>* link_ ABSL_GUARDED_BY(mutex_) = nullptr;
  grpc::ServerContext* link_context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  grpc::ServerReaderWriter<pb::WorkResponse, pb::WorkRequest>* work_ ABSL_GUARDED_BY(mutex_) = nullptr;
  int64_t fetches_ ABSL_GUARDED_BY(mutex_) = 0, credits_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tenon::testing
