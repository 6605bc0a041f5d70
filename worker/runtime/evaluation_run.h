// A classification evaluation on the device loop: the same rows through one adapter after another.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/runtime/adapter_loader.h"
#include "worker/runtime/device_loop.h"
#include "worker/runtime/runtime.h"
#include "worker/runtime/task_pool.h"

namespace tenon::runtime {

// For each adapter: wait until it is in memory, map the rows' labels to its own, tokenize, and run batches of rows of
// like length whenever it is on the device.
class EvaluationRun final : public BackgroundJob, public std::enable_shared_from_this<EvaluationRun> {
 public:
  struct Parts {
    std::shared_ptr<const engine::Base> base;
    AdapterLoader* adapters;
    DeviceLoop* loop;
    TaskPool* preparer;
    TaskPool* publisher;
    int64_t slice_tokens = 2048;  // of one batch
    std::function<void()> on_finished;
  };
  EvaluationRun(EvalJob job, EvalCallbacks callbacks, Parts parts);

  void Start();
  // From the loader.
  void OnAdapter(AdapterId id, const absl::Status& status);

  const char* kind() const override { return "evaluate"; }
  bool Ready() override;
  void RunSlice() override;
  bool finished() const override;
  void Cancel() override;

 private:
  enum class State { kWaiting, kPreparing, kRunning, kFinished };
  void Next();
  void LetGo();
  void Prepare();
  absl::Status MapRows();
  absl::Status RunBatch(const Residency::Device& device);
  void Finish(const absl::Status& status);
  int64_t total() const { return static_cast<int64_t>(job_.rows.size() * job_.adapter_digests.size()); }

  EvalJob job_;
  const EvalCallbacks callbacks_;
  const Parts parts_;
  std::atomic<bool> cancelled_ = false;

  mutable absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kWaiting;
  AdapterId adapter_ ABSL_GUARDED_BY(mutex_) = kNoAdapter;

  // Of whichever thread has the job: the preparing thread, then the device thread.
  Residency::Host host_;
  int64_t encoded_with_ = -1;  // the token limit behind encodings_
  std::vector<engine::Encoding> encodings_;
  std::vector<std::vector<int64_t>> truth_;
  std::vector<size_t> order_;  // rows, longest first
  size_t cursor_ = 0;          // into order_
  std::optional<engine::ClassificationEvaluator> evaluator_;
  std::vector<std::pair<formats::TenonConfig, engine::ClassificationScores>> results_;
};

}  // namespace tenon::runtime
