// What evaluations share: the same rows through one model after another, as a job of the device loop.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/runtime/adapter_loader.h"
#include "worker/runtime/device_loop.h"
#include "worker/runtime/task_pool.h"

namespace tenon::runtime {

// For each adapter: wait until it is in host memory, prepare the rows for it on the preparing thread, run slices on the
// device thread, then count on the preparing thread again. What a derived class keeps belongs to whichever thread has
// the job.
class EvaluationJob : public BackgroundJob, public std::enable_shared_from_this<EvaluationJob> {
 public:
  struct Parts {
    std::shared_ptr<const engine::Base> base;
    AdapterLoader* adapters;
    DeviceLoop* loop;
    TaskPool* preparer;
    TaskPool* publisher;
    std::function<void()> on_finished;  // before the job's owner hears of its end
  };

  void Start() { Next(); }
  // From the loader.
  void OnAdapter(AdapterId id, const absl::Status& status);

  const char* kind() const final { return "evaluate"; }
  bool Ready() final;
  void RunSlice() final;
  bool finished() const final;
  void Cancel() final;

 protected:
  // `host_only`: the derived class brings adapters to the device by itself.
  EvaluationJob(std::string base_digest, std::vector<std::string> adapters, bool host_only, Parts parts);

  // On the preparing thread. `host` is null for the base alone.
  virtual absl::Status Prepare(const Residency::Host& host) = 0;
  // On the device thread: a slice. True once the adapter's rows are through. `adapter` is null for the base alone, and
  // with `host_only`.
  virtual absl::StatusOr<bool> RunRows(const Residency::Device& adapter) = 0;
  // On the preparing thread: what RunRows left becomes a result.
  virtual absl::Status Count(const Residency::Host& host) = 0;
  // On the device thread, when the job ends early: gives up what belongs there.
  virtual void Drop() {}
  // On the publishing thread, once: tells the owner.
  virtual void Report(const absl::Status& status) = 0;

  bool cancelled() const { return cancelled_; }
  size_t models() const { return adapters_.size(); }
  size_t models_done() const { return done_; }
  const Parts& parts() const { return parts_; }

 private:
  enum class State { kWaiting, kPreparing, kRunning, kCounting, kFinished };
  void Next();
  void PostPrepare();
  void PostCount();
  void LetGo();
  // From one state to another, unless the job ended meanwhile; whether it did go on.
  bool Move(State from, State to);
  void Finish(const absl::Status& status);

  const std::string base_digest_;
  const std::vector<std::string> adapters_;  // digests; empty: the base alone
  const bool host_only_;
  const Parts parts_;
  std::atomic<bool> cancelled_ = false;

  mutable absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kWaiting;
  AdapterId adapter_ ABSL_GUARDED_BY(mutex_) = kNoAdapter;

  Residency::Host host_;  // of whichever thread has the job, as `done_`
  size_t done_ = 0;
};

}  // namespace tenon::runtime
