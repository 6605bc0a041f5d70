#include "worker/link/job_runner.h"

#include <spdlog/spdlog.h>

#include <system_error>

#include "worker/link/assigned_job.h"

namespace tenon::link {

JobRunner::JobRunner(Parts parts) : parts_(std::move(parts)) {
  std::error_code ignored;
  std::filesystem::remove_all(parts_.scratch, ignored);
  std::filesystem::create_directories(parts_.scratch, ignored);
}

JobRunner::~JobRunner() {
  starter_.Stop();
  cleaner_.Stop();
}

void JobRunner::Stop() {
  std::map<Key, std::shared_ptr<AssignedJob>> jobs;
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    jobs = jobs_;
  }
  for (const auto& [key, job] : jobs) job->Drop();
  starter_.Stop();
  // A report whose answer is on its way might still cancel its job in the runtime, which may go after this.
  for (const auto& [key, job] : jobs) job->Stop();
  cleaner_.Stop();
}

std::shared_ptr<AssignedJob> JobRunner::Find(const Key& key) const {
  absl::MutexLock lock(&mutex_);
  const auto found = jobs_.find(key);
  return found == jobs_.end() ? nullptr : found->second;
}

void JobRunner::Assign(internal::v1::JobAssignment assignment) {
  const Key key{assignment.job(), assignment.term()};
  const auto job = std::make_shared<AssignedJob>(std::move(assignment), parts_,
                                                 [this, key] { cleaner_.Post([this, key] { Forget(key); }); });
  {
    absl::MutexLock lock(&mutex_);
    // The server hears nothing of a job that is not taken: it queues it again when this worker's link closes.
    if (draining_ || !jobs_.emplace(key, job).second) return;
  }
  spdlog::info("job {}: assigned, term {}", key.first, key.second);
  starter_.Post([job] { job->Start(); });
}

void JobRunner::Cancel(const std::string& job, int64_t term) {
  if (const auto found = Find({job, term})) found->Cancel();
}

void JobRunner::Drop(const std::string& job, int64_t term) {
  if (const auto found = Find({job, term})) {
    spdlog::info("job {}: dropped, its term {} is over", job, term);
    found->Drop();
  }
}

void JobRunner::Drain() {
  std::map<Key, std::shared_ptr<AssignedJob>> jobs;
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    jobs = jobs_;
  }
  for (const auto& [key, job] : jobs) job->Cancel();
}

std::vector<internal::v1::JobHold> JobRunner::held() const {
  absl::MutexLock lock(&mutex_);
  std::vector<internal::v1::JobHold> held;
  for (const auto& [key, job] : jobs_) {
    internal::v1::JobHold& hold = held.emplace_back();
    hold.set_job(key.first);
    hold.set_term(key.second);
  }
  return held;
}

bool JobRunner::WaitUntilEmpty(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(this, &JobRunner::Empty), timeout);
}

void JobRunner::Forget(const Key& key) {
  std::shared_ptr<AssignedJob> job;  // destroyed outside the lock
  absl::MutexLock lock(&mutex_);
  const auto found = jobs_.find(key);
  if (found == jobs_.end()) return;
  job = std::move(found->second);
  jobs_.erase(found);
}

}  // namespace tenon::link
