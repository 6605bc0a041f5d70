#include "worker/engine/train/train_loop.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/adapter/write.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/train/schedule.h"

namespace tenon::engine {

TrainLoop::TrainLoop(const TrainOptions& options, std::unique_ptr<Learner> learner, std::unique_ptr<TrainLoop> baseline)
    : options_(options),
      learner_(std::move(learner)),
      baseline_(std::move(baseline)),
      optimizer_(learner_->adapter().parameters(), {.weight_decay = options.weight_decay}),
      best_(options.metric_for_best, options.early_stopping_patience) {}

absl::StatusOr<std::optional<TrainUpdate>> TrainLoop::RunSlice() {
  return Guarded([this] { return Slice(); });
}

TrainLoop::Update TrainLoop::Slice() {
  switch (phase_) {
    case Phase::kPrepare:
      return Prepare();
    case Phase::kBaseline:
      return Baseline();
    case Phase::kStep:
      return Step();
    case Phase::kUpdate:
      if (!std::isfinite(ClipGradients(learner_->adapter().parameters(), options_.max_grad_norm))) {
        return TenonError(Reason::kLossNotFinite, absl::StrCat("the gradient became infinite in step ", step_ + 1));
      }
      return OptimizerStep();
    case Phase::kUntrained:
    case Phase::kEvaluate:
      return Evaluate();
    case Phase::kSave:
      phase_ = Phase::kStep;
      return CheckpointDue{step_};
    case Phase::kDone:
      return Done();
  }
  return std::nullopt;
}

TrainLoop::Update TrainLoop::Prepare() {
  ASSIGN_OR_RETURN(const bool more, learner_->Prepare());
  if (more) return std::nullopt;
  if (step_ > 0) {
    phase_ = evaluated_step_ == step_ ? AfterEvaluation() : AfterStep();
    if (phase_ == Phase::kSave) phase_ = Phase::kStep;  // this is the checkpoint that we came from
  } else {
    phase_ = learner_->evaluates() ? Phase::kUntrained : Phase::kStep;
  }
  return std::nullopt;
}

TrainLoop::Update TrainLoop::Baseline() {
  ASSIGN_OR_RETURN(const std::optional<TrainUpdate> update, baseline_->RunSlice());
  if (!update.has_value()) return std::nullopt;
  if (const auto* evaluation = std::get_if<TrainEvaluation>(&*update); evaluation != nullptr && evaluation->best) {
    baseline_best_ = *evaluation;
  }
  if (!std::holds_alternative<TrainDone>(*update)) return std::nullopt;
  baseline_.reset();  // its features are large
  phase_ = Phase::kStep;
  return TrainEvaluation{0, "head_baseline", baseline_best_->metrics, false};
}

TrainLoop::Update TrainLoop::Step() {
  absl::StatusOr<std::optional<StepResult>> result = learner_->TrainSlice(step_ + 1);
  if (!result.ok()) return Annotate(result.status(), absl::StrCat("step ", step_ + 1, ": "));
  if (result->has_value()) {
    result_ = **result;
    phase_ = Phase::kUpdate;
  }
  return std::nullopt;
}

TrainUpdate TrainLoop::OptimizerStep() {
  const double rate = LearningRate(options_, total_steps(), step_ + 1);
  optimizer_.Step(learner_->adapter().parameters(), rate, step_ + 1);
  ++step_;
  trained_tokens_ += result_.tokens;
  phase_ = AfterStep();
  return TrainProgress{step_, total_steps(), result_.loss, rate, result_.examples, result_.tokens};
}

TrainLoop::Phase TrainLoop::AfterStep() const {
  const bool due = step_ == total_steps() || (options_.eval_steps > 0 && step_ % options_.eval_steps == 0);
  return learner_->evaluates() && due ? Phase::kEvaluate : AfterEvaluation();
}

TrainLoop::Phase TrainLoop::AfterEvaluation() const {
  if (step_ == total_steps() || best_.ShouldStop()) return Phase::kDone;
  return step_ % options_.save_steps == 0 ? Phase::kSave : Phase::kStep;
}

TrainLoop::Update TrainLoop::Evaluate() {
  std::optional<Metrics> metrics = learner_->EvaluationSlice();
  if (!metrics.has_value()) return std::nullopt;
  if (const double loss = metrics->at("loss"); !std::isfinite(loss)) {
    return TenonError(Reason::kLossNotFinite, absl::StrCat("step ", step_, ": the validation loss became ", loss));
  }
  if (phase_ == Phase::kUntrained) {
    phase_ = baseline_ != nullptr ? Phase::kBaseline : Phase::kStep;
    return TrainEvaluation{0, "untrained", *std::move(metrics), false};
  }
  const bool best = best_.Add(step_, *metrics);
  if (best) {
    for (const Parameter& parameter : learner_->adapter().parameters()) {
      best_weights_[parameter.name] = parameter.value.detach().clone();
    }
  }
  evaluated_step_ = step_;
  phase_ = AfterEvaluation();
  return TrainEvaluation{step_, "validation", *std::move(metrics), best};
}

TrainUpdate TrainLoop::Done() {
  TrainDone done{step_, best_.best_step() > 0 ? best_.best_step() : step_};
  for (const Parameter& parameter : learner_->adapter().parameters()) {
    done.trainable_parameters += parameter.value.numel();
  }
  done.trained_tokens = trained_tokens_;
  done.stopped_early = step_ < total_steps();
  return done;
}

absl::Status TrainLoop::Export(const std::filesystem::path& folder, const std::string& job) {
  return Guarded([&]() -> absl::Status {
    AdapterTensors adapter = learner_->adapter().Snapshot(best_weights_);
    adapter.config.job = job;
    return WriteAdapter(folder, adapter);
  });
}

}  // namespace tenon::engine
