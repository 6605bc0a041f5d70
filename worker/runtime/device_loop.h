// The thread that owns the device: runs slices, one at a time, in the order that the policy says.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "worker/runtime/slice_policy.h"

namespace tenon::runtime {

// Inference, as the loop sees it. Called on the device thread alone.
class ForegroundWork {
 public:
  virtual ~ForegroundWork() = default;
  // Whether a slice could run now.
  virtual bool Ready(absl::Time now) = 0;
  // Runs it; its kind: `inference` (an encoder batch), `generate` (a decode step).
  virtual const char* RunSlice() = 0;
  // When Ready must be asked again although nobody called Wake.
  virtual absl::Time NextWake(absl::Time now) = 0;
};

// A training or evaluation job, as the loop sees it. Called on the device thread, but for Cancel.
class BackgroundJob {
 public:
  virtual ~BackgroundJob() = default;
  virtual const char* kind() const = 0;  // `train`, `evaluate`
  virtual bool Ready() = 0;
  virtual void RunSlice() = 0;
  // Nothing is left to run; the loop forgets the job.
  virtual bool finished() const = 0;
  // From any thread: the next slice ends the job.
  virtual void Cancel() = 0;
};

class DeviceLoop {
 public:
  using Observer = std::function<void(const std::string& kind, absl::Duration took)>;
  DeviceLoop(double training_floor, const Clock* clock, Observer observer);
  ~DeviceLoop();

  // `foreground` must outlive Stop.
  void Start(ForegroundWork* foreground);
  // Ends after the slice that runs; posted functions that have not run are dropped. Never from the device thread.
  void Stop();

  // From any thread: something may be ready that was not.
  void Wake();
  // Runs `function` on the device thread before the next slice.
  void Post(std::function<void()> function);
  void Add(std::shared_ptr<BackgroundJob> job);

 private:
  void Run();
  // Runs what was posted and takes in new jobs; waits until `wake` when there is nothing to do. False to stop.
  bool Collect(bool idle, absl::Time wake);
  bool Notified() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return notified_ || stopping_; }
  // One slice, or false when nothing is ready.
  bool RunOne();

  const Clock& clock_;
  const Observer observer_;
  ForegroundWork* foreground_ = nullptr;

  absl::Mutex mutex_;
  bool notified_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::function<void()>> posted_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<BackgroundJob>> arrived_ ABSL_GUARDED_BY(mutex_);

  // Of the device thread.
  SlicePolicy policy_;
  std::vector<std::pair<uint64_t, std::shared_ptr<BackgroundJob>>> jobs_;
  uint64_t next_job_ = 1;
  std::thread thread_;
};

}  // namespace tenon::runtime
