// The worker's side of one server: keeps the Link and Work streams open and does what comes over them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/clock.h"
#include "worker/link/adapter_files.h"
#include "worker/link/blob_cache.h"
#include "worker/link/job_runner.h"
#include "worker/link/server_client.h"
#include "worker/link/work_stream.h"
#include "worker/runtime/task_pool.h"

namespace tenon::link {

// Dials again with backoff and jitter whenever a stream ends, under the same session, and offers the jobs that still
// run. Jobs go on while the server is away; inference in flight is dropped with the stream that it came by.
// Thread-safe.
class WorkerLink {
 public:
  struct Options {
    std::string worker_id;
    std::string session;
    std::string device;
    std::string version;
    int64_t memory_bytes = 0;
    int64_t credits = 8192;
  };
  struct Parts {
    std::shared_ptr<Stub> stub;
    runtime::Runtime* runtime;
    BlobCache* cache;
    AdapterFiles* adapters;
    JobRunner* jobs;
    const Clock* clock = &Clock::Real();
  };
  WorkerLink(Options options, Parts parts);
  ~WorkerLink();

  // Dials.
  void Start();
  // Takes no new inference and no new jobs; finishes the inference that is here and hands the jobs back. Blocks for
  // `grace` at most.
  void Drain(absl::Duration grace);
  // Closes the streams.
  void Stop();

  bool connected() const { return connected_; }
  int64_t connects() const { return connects_; }  // since the start

 private:
  using Stream = grpc::ClientReaderWriterInterface<internal::v1::LinkRequest, internal::v1::LinkResponse>;
  struct Connection;
  void Run();
  // One Link stream from Hello to its end. True when the server welcomed us.
  bool RunOnce();
  internal::v1::LinkRequest Hello() const;
  void OnWelcome(const internal::v1::Welcome& welcome);
  void Handle(const internal::v1::LinkResponse& message, const std::shared_ptr<Connection>& connection);
  internal::v1::LinkRequest Heartbeat() const;
  void LoadBase(const internal::v1::LoadBase& load);
  void SendHeartbeats(Connection& connection, absl::Duration every);
  void RunWork(Connection& connection);
  // Writes to the stream that is open, if one is.
  void Write(const internal::v1::LinkRequest& message);

  const Options options_;
  const Parts parts_;
  std::atomic<bool> connected_ = false;
  std::atomic<int64_t> connects_ = 0;
  absl::Notification stopping_;

  absl::Mutex mutex_;
  std::shared_ptr<Connection> connection_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  runtime::TaskPool loader_{1};  // bases are fetched and loaded here, one after another
  std::thread thread_;
};

}  // namespace tenon::link
