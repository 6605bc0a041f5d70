#include "worker/engine/train/adapter_learner.h"

#include <utility>

#include "common/formats/status.h"

namespace tenon::engine {

AdapterLearner::AdapterLearner(const TrainOptions& options, std::unique_ptr<AdapterTask> task)
    : task_(std::move(task)), lengths_(task_->lengths()), plan_(options, lengths_) {}

absl::StatusOr<std::optional<StepResult>> AdapterLearner::TrainSlice(int64_t step) {
  if (step_.empty()) StartStep(step);
  if (pass_ == nullptr) StartMicroBatch();
  ASSIGN_OR_RETURN(const bool finished, pass_->Advance());
  if (!finished) return std::nullopt;
  result_.loss += pass_->loss();
  pass_.reset();
  if (++micro_ < step_.size()) return std::nullopt;
  step_.clear();
  return result_;
}

void AdapterLearner::StartStep(int64_t step) {
  step_ = plan_.Step(step);
  first_micro_batch_ = plan_.MicroBatchesBefore(step);
  micro_ = 0;
  terms_ = 0;
  result_ = {};
  for (const MicroBatch& rows : step_) {
    terms_ += task_->Terms(rows);
    result_.examples += static_cast<int64_t>(rows.size());
    for (const int64_t row : rows) result_.tokens += lengths_[static_cast<size_t>(row)];
  }
  for (Parameter& parameter : task_->adapter().parameters()) parameter.grad = at::Tensor();
}

void AdapterLearner::StartMicroBatch() {
  // Every term of the step's loss counts the same, whichever micro-batch it is in.
  const double scale = 1 / static_cast<double>(terms_);
  pass_ = std::make_unique<SegmentedPass>(task_->Pass(step_[micro_]), task_->adapter(), task_->dropout(), scale,
                                          first_micro_batch_ + static_cast<int64_t>(micro_));
}

}  // namespace tenon::engine
