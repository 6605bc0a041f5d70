// A scripted worker on the real wire: what a test lets a remote process say and keep silent about.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "tenon/internal/v1/worker_link_service.grpc.pb.h"

namespace tenon::server {

// Loads every base it is asked for, and answers every request by its script. Thread-safe.
class FakeWorker {
 public:
  using Answer = std::function<std::optional<internal::v1::InferenceResult>(const internal::v1::InferenceRequest&)>;
  struct Options {
    std::string id = "fake";
    std::string session = "session-1";
    int64_t credits = 1000;
    bool load_bases = true;
    Answer answer = Scores;  // nothing: silence
  };

  FakeWorker(int port, Options options);
  ~FakeWorker();

  // One row a text: scores .1, .7, .2, and four tokens.
  static std::optional<internal::v1::InferenceResult> Scores(const internal::v1::InferenceRequest& request);

  // One written text a row, `<text>!`, of three tokens, with four read; for SUMMARIZE a summary of that kind.
  static std::optional<internal::v1::InferenceResult> Write(const internal::v1::InferenceRequest& request);

  // Waits for the server's welcome, or the end of the stream; false for the end.
  bool WaitForWelcome();
  // Waits until so many requests came, and returns them all.
  std::vector<internal::v1::InferenceRequest> WaitForRequests(size_t count);
  std::vector<uint64_t> WaitForCancels(size_t count);
  std::vector<std::string> WaitForUnloads(size_t count);
  // How the Link stream ended.
  grpc::Status WaitForEnd();
  void Send(const internal::v1::InferenceResult& result);
  // A part of a streamed text.
  void SendDelta(uint64_t call_id, const std::string& text);
  // The process is gone: both streams break.
  void Kill();

  internal::v1::WorkerLinkService::Stub& stub() { return *stub_; }

 private:
  void RunLink();
  void RunWork();

  const Options options_;
  std::unique_ptr<internal::v1::WorkerLinkService::Stub> stub_;
  grpc::ClientContext link_context_;
  grpc::ClientContext work_context_;
  absl::Mutex write_mutex_;
  std::unique_ptr<grpc::ClientReaderWriter<internal::v1::WorkRequest, internal::v1::WorkResponse>> work_stream_;

  absl::Mutex mutex_;
  bool welcome_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
  std::vector<internal::v1::InferenceRequest> requests_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> unloads_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint64_t> cancels_ ABSL_GUARDED_BY(mutex_);
  std::thread link_thread_;
  std::thread work_thread_;
};

}  // namespace tenon::server
