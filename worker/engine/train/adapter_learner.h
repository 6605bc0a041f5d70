// An adapter within a frozen network: every method whose gradients go through layers. Engine-internal, torch inside.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "worker/engine/train/adapter_task.h"
#include "worker/engine/train/batch_plan.h"
#include "worker/engine/train/learner.h"
#include "worker/engine/train/segmented_pass.h"

namespace tenon::engine {

class AdapterLearner final : public Learner {
 public:
  AdapterLearner(const TrainOptions& options, std::unique_ptr<AdapterTask> task);

  absl::StatusOr<bool> Prepare() override { return false; }
  absl::StatusOr<std::optional<StepResult>> TrainSlice(int64_t step) override;
  bool evaluates() const override { return task_->evaluates(); }
  std::optional<Metrics> EvaluationSlice() override { return task_->EvaluationSlice(); }
  TrainableAdapter& adapter() override { return task_->adapter(); }
  int64_t total_steps() const override { return plan_.total_steps(); }

 private:
  void StartStep(int64_t step);
  void StartMicroBatch();

  std::unique_ptr<AdapterTask> task_;
  std::vector<int64_t> lengths_;  // of training rows
  BatchPlan plan_;

  StepPlan step_;  // micro-batches of the step at hand
  int64_t first_micro_batch_ = 0, terms_ = 0;
  size_t micro_ = 0;
  std::unique_ptr<SegmentedPass> pass_;
  StepResult result_;
};

}  // namespace tenon::engine
