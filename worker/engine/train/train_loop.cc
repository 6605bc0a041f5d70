#include "worker/engine/train/train_loop.h"

#include <ATen/ops/empty_like.h>

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
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
    case Phase::kNorm:
      return NormSlice();
    case Phase::kOptimize:
      return OptimizerSlice();
    case Phase::kUntrained:
    case Phase::kEvaluate:
      return Evaluate();
    case Phase::kKeepBest:
      KeepBestSlice();
      return std::nullopt;
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
    phase_ = Phase::kNorm;
  }
  return std::nullopt;
}

TrainLoop::Update TrainLoop::NormSlice() {
  const std::optional<double> norm = norm_.Slice(learner_->adapter().parameters());
  if (!norm.has_value()) return std::nullopt;
  if (!std::isfinite(*norm)) {
    return TenonError(Reason::kLossNotFinite, absl::StrCat("the gradient became infinite in step ", step_ + 1));
  }
  gradient_scale_ = ClipScale(*norm, options_.max_grad_norm);
  phase_ = Phase::kOptimize;
  return std::nullopt;
}

std::optional<TrainUpdate> TrainLoop::OptimizerSlice() {
  const double rate = LearningRate(options_, total_steps(), step_ + 1);
  const AdamW::Update update{.learning_rate = rate, .step = step_ + 1, .gradient_scale = gradient_scale_};
  if (!optimizer_.StepSlice(learner_->adapter().parameters(), update)) return std::nullopt;
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
  evaluated_step_ = step_;
  phase_ = best ? Phase::kKeepBest : AfterEvaluation();
  return TrainEvaluation{step_, "validation", *std::move(metrics), best};
}

void TrainLoop::KeepBestSlice() {
  const std::vector<Parameter>& parameters = learner_->adapter().parameters();
  const bool kept = best_slices_.Next(parameters, [&](const WeightPart& part) {
    const Parameter& parameter = parameters[part.parameter];
    at::Tensor& best = best_weights_[parameter.name];
    if (!best.defined()) best = at::empty_like(parameter.value.detach());
    part.Of(best).copy_(part.Of(parameter.value));
  });
  if (kept) phase_ = AfterEvaluation();
}

TrainUpdate TrainLoop::Done() {
  TrainDone done{step_, best_.best_step() > 0 ? best_.best_step() : step_};
  for (Parameter& parameter : learner_->adapter().parameters()) {
    done.trainable_parameters += parameter.value.numel();
    parameter.grad = at::Tensor();  // room for the copy that is exported
  }
  done.trained_tokens = trained_tokens_;
  done.stopped_early = step_ < total_steps();
  return done;
}

absl::Status TrainLoop::Export(const std::filesystem::path& folder, const std::string& job) {
  return Guarded([&]() -> absl::Status {
    AdapterTensors adapter = learner_->adapter().Snapshot(best_weights_);
    adapter.config.job = job;
    return learner_->Write(folder, adapter);
  });
}

}  // namespace tenon::engine
