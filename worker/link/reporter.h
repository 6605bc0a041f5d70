// Tells the server what happened to one job, in order, for as long as the server is away or has no room if need be.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "tenon/internal/v1/worker_link_service.pb.h"

namespace tenon::link {

// Thread-safe. One thread sends; a report is repeated until the server has it, refuses it, or says that the job's term
// is over.
class Reporter {
 public:
  using Send = std::function<absl::Status(const internal::v1::ReportJobRequest&)>;
  struct Job {
    std::string session;
    std::string job;
    int64_t term = 0;
  };
  // `stale` is called at most once, on the reporting thread: the server has given the job to somebody else.
  Reporter(Job job, Send send, std::function<void()> stale);
  // Drops what was not sent.
  ~Reporter();

  // Lossy: only the last counts, and it gives way to everything else.
  void Progress(v1::JobProgress progress);
  // Sent in order; what the server refuses is logged.
  void Post(internal::v1::ReportJobRequest report);
  // Post, and wait until it is durable there: STALE_TERM, or the server's refusal.
  absl::Status PostAndWait(internal::v1::ReportJobRequest report);
  // Sends nothing more; everything waiting gets STALE_TERM. From any thread.
  void Drop();
  // Drop, and wait for the report that is on its way: `stale` is not called afterwards. From one thread.
  void Stop();
  // Notified by Drop: other calls for the job give up, too.
  const absl::Notification& dropped() const { return dropped_; }

 private:
  struct Entry {
    internal::v1::ReportJobRequest report;
    std::function<void(const absl::Status&)> done;  // may be empty
  };
  void Push(Entry entry);
  void Run();
  absl::Status SendOne(internal::v1::ReportJobRequest& report);
  bool Awake() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return is_dropped_ || !queue_.empty() || progress_.has_value();
  }

  const Job job_;
  const Send send_;
  const std::function<void()> stale_;
  absl::Notification dropped_;

  absl::Mutex mutex_;
  bool is_dropped_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Entry> queue_ ABSL_GUARDED_BY(mutex_);
  std::optional<v1::JobProgress> progress_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace tenon::link
