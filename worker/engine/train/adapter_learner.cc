#include "worker/engine/train/adapter_learner.h"

#include <utility>

#include "common/formats/status.h"

namespace tenon::engine {
AdapterLearner::AdapterLearner(std::shared_ptr<const EncoderLayers> encoder, const TrainOptions& options,
                               std::shared_ptr<const TokenData> data, TrainableAdapter adapter)
    : encoder_(std::move(encoder)),
      data_(std::move(data)),
      adapter_(std::move(adapter)),
      dropout_(options.seed, encoder_->device()),
      training_(*encoder_, adapter_, ResolveDropout(encoder_->config(), options.base_dropout), &dropout_),
      evaluating_(*encoder_, adapter_, {}, nullptr),
      plan_(options, data_->train.lengths()),
      validation_batches_(
          EvaluationBatches(data_->validation, encoder_->device().is_cpu(), adapter_.adapter().virtual_tokens())) {}

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
  result_ = {};
  for (const MicroBatch& rows : step_) {
    result_.examples += static_cast<int64_t>(rows.size());
    result_.tokens += data_->train.Tokens(rows);
  }
  for (Parameter& parameter : adapter_.parameters()) parameter.grad = at::Tensor();
}

void AdapterLearner::StartMicroBatch() {
  const MicroBatch& rows = step_[micro_];
  // Every example of the step counts the same, whichever micro-batch it is in.
  const double scale = 1 / static_cast<double>(result_.examples);
  pass_ = std::make_unique<SegmentedPass>(training_, adapter_, dropout_, Packed(data_->train, rows),
                                          PickLabels(data_->train, rows), data_->multi_label, scale,
                                          first_micro_batch_ + static_cast<int64_t>(micro_));
}

PackedBatch AdapterLearner::Packed(const TokenRows& data, const MicroBatch& rows) const {
  return PackRows(data, rows, encoder_->device(), adapter_.adapter().virtual_tokens());
}

at::Tensor AdapterLearner::ValidationLogits(const std::vector<int64_t>& rows) {
  return evaluating_.Logits(Packed(data_->validation, rows));
}

}  // namespace tenon::engine
