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
#include "worker/engine/train/clip.h"
#include "worker/engine/train/learner.h"
#include "worker/engine/train/trainer.h"
#include "worker/engine/train/weight_slices.h"

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
  enum class Phase { kPrepare, kUntrained, kBaseline, kStep, kNorm, kOptimize, kEvaluate, kKeepBest, kSave, kDone };
  using Update = absl::StatusOr<std::optional<TrainUpdate>>;

  Update Slice();
  Update Prepare();
  Update Baseline();
  Update Step();
  // A part of the norm of the step's gradients.
  Update NormSlice();
  // A part of the step's update; the progress with its last part.
  std::optional<TrainUpdate> OptimizerSlice();
  Update Evaluate();
  // A part of the copy of weights that were the best so far.
  void KeepBestSlice();
  TrainUpdate Done();
  // Where to go on from the end of step `step_`, before or after its evaluation.
  Phase AfterStep() const;
  Phase AfterEvaluation() const;

  TrainOptions options_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<TrainLoop> baseline_;
  GradientNorm norm_;
  AdamW optimizer_;
  BestTracker best_;
  std::map<std::string, at::Tensor> best_weights_;  // by parameter name; empty before the first evaluation
  WeightSlices best_slices_;                        // of their copy

  Phase phase_ = Phase::kPrepare;
  int64_t step_ = 0;  // finished ones
  int64_t evaluated_step_ = 0;
  int64_t trained_tokens_ = 0;
  StepResult result_;          // of the step that waits for its update
  double gradient_scale_ = 1;  // of its gradients
  std::optional<TrainEvaluation> baseline_best_;
  std::string notice_;
};

}  // namespace tenon::engine
