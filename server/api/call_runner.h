// What every call goes through: who calls, pools, cancellation, metrics, one log line. Used through
// server/api/guarded.h.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "server/api/metrics_rpc.h"
#include "server/api/thread_pool.h"

namespace spdlog {
class logger;
}

namespace tenon::server {

// What a handler knows of its call. May be copied, and outlives the call.
struct CallContext {
  std::string tenant;      // whose credential made the call
  std::string request_id;  // of the log line and of INTERNAL errors
  std::string peer;        // `ipv4:127.0.0.1:40000`
  bool loopback = false;
  absl::Time deadline = absl::InfiniteFuture();
  // Whether the client is gone or the deadline passed. Thread-safe.
  std::function<bool()> cancelled;
  // Calls the function once when that happens, on a gRPC thread; at once when it has happened. For streams that wait.
  // Thread-safe.
  std::function<void(std::function<void()>)> when_cancelled;
};

// One call from its start to its one finish. Thread-safe.
class ActiveCall {
 public:
  ActiveCall(const Clock& clock, RpcMetrics::Method* metrics, spdlog::logger* log, grpc::ServerContextBase* context,
             std::string method);

  const CallContext& context() const { return context_; }
  // From the reactor's OnCancel.
  void Cancel();
  // CANCELLED or DEADLINE_EXCEEDED once nobody waits for the answer, else OK.
  absl::Status Check() const;
  // True for the first caller alone, who then must finish the reactor with Finish's result.
  bool Claim() { return !finished_.exchange(true); }
  // Counts, logs and converts the result.
  grpc::Status Finish(absl::Status status);
  void CountReceived() { metrics_->Received(); }
  void CountSent() { metrics_->Sent(); }

 private:
  struct Cancellation {
    std::atomic<bool> flag = false;
    absl::Mutex mutex;
    std::vector<std::function<void()>> callbacks ABSL_GUARDED_BY(mutex);
    bool closed ABSL_GUARDED_BY(mutex) = false;  // answered: nobody is to be told any more
  };

  const Clock& clock_;
  RpcMetrics::Method* metrics_;
  spdlog::logger* log_;
  std::string method_;
  absl::Time start_;
  std::shared_ptr<Cancellation> cancellation_ = std::make_shared<Cancellation>();
  CallContext context_;
  std::atomic<bool> finished_ = false;
};

// Thread-safe. Outlives the gRPC server.
class CallRunner {
 public:
  struct Options {
    int threads = 16;  // for unary handlers that block
    int queue = 256;   // of those, how many may wait; beyond: QUEUE_FULL
    // Streams at once, each on a thread of its own, for the other end may be silent for long; beyond: QUEUE_FULL.
    int streams = 256;
  };
  // `access_log` may be null.
  CallRunner(const Clock& clock, RpcMetrics* metrics, std::shared_ptr<spdlog::logger> access_log,
             const Options& options);
  CallRunner(const Clock& clock, RpcMetrics* metrics) : CallRunner(clock, metrics, nullptr, Options()) {}

  // `method` is `tenon.v1.CatalogService/GetBase`.
  std::shared_ptr<ActiveCall> Begin(grpc::ServerContextBase* context, const std::string& method);
  ThreadPool& calls() { return calls_; }
  ThreadPool& streams() { return streams_; }

 private:
  const Clock& clock_;
  RpcMetrics* metrics_;
  std::shared_ptr<spdlog::logger> access_log_;
  ThreadPool calls_;
  ThreadPool streams_;
};

// Runs a handler; an exception becomes INTERNAL and a log line.
absl::Status RunHandler(const CallContext& call, const std::function<absl::Status()>& handler);
absl::Status PoolFull();

}  // namespace tenon::server
