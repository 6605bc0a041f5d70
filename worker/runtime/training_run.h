// A training job on the device loop.
#pragma once

#include <atomic>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/runtime/device_loop.h"
#include "worker/runtime/runtime.h"
#include "worker/runtime/task_pool.h"

namespace tenon::runtime {

// Prepared (tokens, plan) on one thread, run in slices on the device thread, published on a third. The trainer is
// touched by one of them at a time: each hands it to the next by a change of state. A job that is cancelled ends where
// it is: on the preparing thread before its next row, on the device thread with its next slice, and there, too, while
// it waits for the preparing thread, which may have long to do for other jobs.
class TrainingRun final : public BackgroundJob, public std::enable_shared_from_this<TrainingRun> {
 public:
  struct Parts {
    std::shared_ptr<const engine::Base> base;
    DeviceLoop* loop;
    TaskPool* preparer;
    TaskPool* publisher;
    std::filesystem::path scratch;      // of this job alone; removed at the end
    std::function<void()> on_finished;  // before `done`: the id is free by then
  };
  TrainingRun(TrainJob job, TrainCallbacks callbacks, Parts parts);

  void Start();
  const char* kind() const override { return "train"; }
  bool Ready() override;
  void RunSlice() override;
  bool finished() const override;
  void Cancel() override;

 private:
  enum class State { kWaiting, kPreparing, kRunning, kPublishing, kFinished };
  void Prepare();
  absl::Status MakeTrainer();
  // The rows of a scorer of sentences, and what depends on their number.
  absl::Status MakeRows();
  void PublishCheckpoint(int64_t step);
  void PublishResult();
  absl::Status SaveAndPublish(int64_t step);
  absl::StatusOr<std::filesystem::path> Export();
  void MoveTo(State state);
  // From one state to another; false when it is in a third.
  bool Move(State from, State to);
  // Ends the job on the publishing thread; `done` is told there.
  void Finish(absl::StatusOr<std::filesystem::path> result);

  TrainJob job_;
  const TrainCallbacks callbacks_;
  const Parts parts_;
  std::unique_ptr<engine::Trainer> trainer_;
  std::atomic<bool> cancelled_ = false;
  mutable absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kWaiting;
};

}  // namespace tenon::runtime
