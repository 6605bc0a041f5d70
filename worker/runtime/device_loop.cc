#include "worker/runtime/device_loop.h"

#include <algorithm>
#include <utility>

namespace tenon::runtime {

DeviceLoop::DeviceLoop(double training_floor, const Clock* clock, Observer observer)
    : clock_(*clock), observer_(std::move(observer)), policy_(training_floor) {}

DeviceLoop::~DeviceLoop() { Stop(); }

void DeviceLoop::Start(ForegroundWork* foreground) {
  foreground_ = foreground;
  thread_ = std::thread([this] { Run(); });
}

void DeviceLoop::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
  std::deque<std::function<void()>> dropped;
  absl::MutexLock lock(&mutex_);
  dropped.swap(posted_);
}

void DeviceLoop::Wake() {
  absl::MutexLock lock(&mutex_);
  notified_ = true;
}

void DeviceLoop::Post(std::function<void()> function) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return;
  posted_.push_back(std::move(function));
  notified_ = true;
}

void DeviceLoop::Add(std::shared_ptr<BackgroundJob> job) {
  absl::MutexLock lock(&mutex_);
  arrived_.push_back(std::move(job));
  notified_ = true;
}

void DeviceLoop::Run() {
  bool idle = false;
  absl::Time wake = absl::InfiniteFuture();
  while (Collect(idle, wake)) {
    idle = !RunOne();
    if (idle) wake = foreground_->NextWake(clock_.Now());
  }
  jobs_.clear();
}

bool DeviceLoop::Collect(bool idle, absl::Time wake) {
  std::deque<std::function<void()>> posted;
  {
    absl::MutexLock lock(&mutex_);
    if (idle) {
      const absl::Duration wait = std::max(wake - clock_.Now(), absl::ZeroDuration());
      mutex_.AwaitWithTimeout(absl::Condition(this, &DeviceLoop::Notified), wait);
    }
    if (stopping_) return false;
    notified_ = false;
    posted.swap(posted_);
    for (auto& job : arrived_) {
      policy_.AddJob(next_job_);
      jobs_.emplace_back(next_job_++, std::move(job));
    }
    arrived_.clear();
  }
  for (auto& function : posted) function();
  return true;
}

bool DeviceLoop::RunOne() {
  std::erase_if(jobs_, [this](const auto& job) {
    const bool finished = job.second->finished();
    if (finished) policy_.RemoveJob(job.first);
    return finished;
  });
  const absl::Time start = clock_.Now();
  const bool inference_ready = foreground_->Ready(start);
  std::vector<uint64_t> ready;
  for (const auto& [id, job] : jobs_) {
    if (job->Ready()) ready.push_back(id);
  }
  const SlicePolicy::Choice choice = policy_.Next(inference_ready, ready);
  if (choice.kind == SlicePolicy::Kind::kNone) return false;

  std::string kind;
  if (choice.kind == SlicePolicy::Kind::kInference) {
    kind = foreground_->RunSlice();
  } else {
    const auto job =
        std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& entry) { return entry.first == choice.job; });
    kind = job->second->kind();
    job->second->RunSlice();
  }
  const absl::Duration took = clock_.Now() - start;
  policy_.Account(choice, took, choice.kind == SlicePolicy::Kind::kInference ? !ready.empty() : inference_ready);
  if (observer_) observer_(kind, took);
  return true;
}

}  // namespace tenon::runtime
