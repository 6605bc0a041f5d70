#include "worker/link/reporter.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "common/formats/status.h"
#include "worker/link/retry.h"

namespace tenon::link {
namespace {

absl::Status Stale() { return TenonError(Reason::kStaleTerm, "the job has a newer lease"); }

bool MayPass(const absl::Status& status) { return IsTransient(status) || IsDiskFull(status); }

}  // namespace

Reporter::Reporter(Job job, Send send, std::function<void()> stale)
    : job_(std::move(job)), send_(std::move(send)), stale_(std::move(stale)), thread_([this] { Run(); }) {}

Reporter::~Reporter() { Stop(); }

void Reporter::Stop() {
  Drop();
  if (thread_.joinable()) thread_.join();
}

void Reporter::Progress(v1::JobProgress progress) {
  absl::MutexLock lock(&mutex_);
  progress_ = std::move(progress);
}

void Reporter::Post(internal::v1::ReportJobRequest report) { Push({std::move(report), nullptr}); }

absl::Status Reporter::PostAndWait(internal::v1::ReportJobRequest report) {
  absl::Notification sent;
  absl::Status result;
  Push({std::move(report), [&](const absl::Status& status) {
          result = status;
          sent.Notify();
        }});
  sent.WaitForNotification();
  return result;
}

void Reporter::Push(Entry entry) {
  {
    absl::MutexLock lock(&mutex_);
    if (!is_dropped_) {
      queue_.push_back(std::move(entry));
      return;
    }
  }
  if (entry.done) entry.done(Stale());
}

void Reporter::Drop() {
  absl::MutexLock lock(&mutex_);
  if (is_dropped_) return;
  is_dropped_ = true;
  dropped_.Notify();
}

void Reporter::Run() {
  while (true) {
    Entry entry;
    bool lossy = false;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &Reporter::Awake));
      if (is_dropped_) break;
      if (!queue_.empty()) {
        entry = std::move(queue_.front());
        queue_.pop_front();
      } else {
        *entry.report.mutable_progress() = *std::exchange(progress_, std::nullopt);
        lossy = true;
      }
    }
    // A newer progress is better than a repeated one; but a server that is away is not asked in a tight loop.
    absl::Status status = SendOne(entry.report);
    if (GetReason(status) == Reason::kStaleTerm) {
      Drop();
      stale_();
      status = Stale();
    } else if (!status.ok() && !lossy) {
      spdlog::warn("job {}: the server refused a report: {}", job_.job, std::string(status.message()));
    }
    if (entry.done) entry.done(status);
  }
  std::deque<Entry> rest;
  {
    absl::MutexLock lock(&mutex_);
    rest.swap(queue_);
  }
  for (Entry& entry : rest) {
    if (entry.done) entry.done(Stale());
  }
}

absl::Status Reporter::SendOne(internal::v1::ReportJobRequest& report) {
  report.set_session(job_.session);
  report.set_job(job_.job);
  report.set_term(job_.term);
  const absl::Status status = Retry(
      dropped_, [&] { return send_(report); }, MayPass);
  return dropped_.HasBeenNotified() && !status.ok() ? Stale() : status;
}

}  // namespace tenon::link
