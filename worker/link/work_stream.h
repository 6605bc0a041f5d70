// The Work stream: requests from the server into the runtime, results back.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "worker/link/adapter_files.h"
#include "worker/link/server_client.h"
#include "worker/runtime/runtime.h"

namespace tenon::link {

// One stream. Run it on a thread of its own; the rest is thread-safe.
class WorkStream : public std::enable_shared_from_this<WorkStream> {
 public:
  struct Parts {
    std::shared_ptr<Stub> stub;
    runtime::Runtime* runtime;
    AdapterFiles* adapters;
    const Clock* clock;
    std::string session;
    int64_t credits = 0;  // tokens outstanding at most: two batches' worth
  };
  explicit WorkStream(Parts parts) : parts_(std::move(parts)) {}

  // Serves until the stream ends; what is in flight then is dropped.
  void Run();
  // Ends the stream now.
  void Cancel();
  // Answers further requests with SHUTTING_DOWN, so that the server gives them to somebody else.
  void Refuse();
  // Refuses, and waits for the results of those that were taken to be written.
  void Drain(absl::Duration timeout);

 private:
  struct Outstanding {
    internal::v1::InferenceKind kind;
    bool has_adapter = false;
    uint64_t runtime_call = 0;
  };
  struct Result {
    uint64_t call_id = 0;
    internal::v1::InferenceKind kind;
    bool has_adapter = false;
    absl::StatusOr<runtime::InferenceReply> reply;
  };
  void Take(const internal::v1::InferenceRequest& request);
  void Drop(uint64_t call_id);
  void OnDone(uint64_t call_id, absl::StatusOr<runtime::InferenceReply> reply);
  void WriteResults();
  bool CanWrite() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_ || !results_.empty(); }
  bool Idle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return ended_ || (outstanding_.empty() && results_.empty() && !writing_);
  }

  const Parts parts_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriterInterface<internal::v1::WorkRequest, internal::v1::WorkResponse>> stream_;

  absl::Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  std::unordered_map<uint64_t, Outstanding> outstanding_ ABSL_GUARDED_BY(mutex_);
  std::deque<Result> results_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tenon::link
