// How a run goes: evaluations, steps, the best checkpoint, early stopping. Engine-internal, torch inside.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "worker/engine/base.h"
#include "worker/engine/train/adamw.h"
#include "worker/engine/train/best.h"
#include "worker/engine/train/learner.h"
#include "worker/engine/train/trainer.h"

namespace tenon::engine {

class TrainLoop final : public Trainer {
 public:
  // `baseline` may be nullptr; it runs before the first step and its best evaluation is reported as `head_baseline`.
  TrainLoop(const TrainOptions& options, std::unique_ptr<Learner> learner, std::unique_ptr<TrainLoop> baseline);

  // Puts back what SaveCheckpoint wrote. ADAPTER_INVALID when the folder is not a checkpoint of this run.
  absl::Status Restore(const std::filesystem::path& folder);

  absl::StatusOr<std::optional<TrainUpdate>> RunSlice() override;
  absl::Status SaveCheckpoint(const std::filesystem::path& folder) override;
  absl::Status Export(const std::filesystem::path& folder, const std::string& job) override;
  int64_t total_steps() const override { return learner_->total_steps(); }
  int64_t next_step() const override { return step_ + 1; }
  std::string notice() const override { return notice_; }

 private:
  enum class Phase { kPrepare, kUntrained, kBaseline, kStep, kUpdate, kEvaluate, kSave, kDone };
  using Update = absl::StatusOr<std::optional<TrainUpdate>>;

  Update Slice();
  Update Prepare();
  Update Baseline();
  Update Step();
  TrainUpdate OptimizerStep();
  Update Evaluate();
  TrainUpdate Done();
  // Where to go on from the end of step `step_`, before or after its evaluation.
  Phase AfterStep() const;
  Phase AfterEvaluation() const;

  TrainOptions options_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<TrainLoop> baseline_;
  AdamW optimizer_;
  BestTracker best_;
  std::map<std::string, at::Tensor> best_weights_;  // by parameter name; empty before the first evaluation

  Phase phase_ = Phase::kPrepare;
  int64_t step_ = 0;  // finished ones
  int64_t evaluated_step_ = 0;
  int64_t trained_tokens_ = 0;
  StepResult result_;  // of the step that waits for its update
  std::optional<TrainEvaluation> baseline_best_;
  std::string notice_;
};

}  // namespace tenon::engine
