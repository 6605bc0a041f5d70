#include "worker/engine/train/classification_task.h"

#include <utility>

namespace tenon::engine {

ClassificationTask::ClassificationTask(std::shared_ptr<const EncoderLayers> encoder, const TrainOptions& options,
                                       std::shared_ptr<const TokenData> data, TrainableAdapter adapter)
    : encoder_(std::move(encoder)),
      data_(std::move(data)),
      adapter_(std::move(adapter)),
      dropout_(options.seed, encoder_->device()),
      training_(*encoder_, adapter_, ResolveDropout(encoder_->config(), options.base_dropout), &dropout_),
      evaluating_(*encoder_, adapter_, {}, nullptr),
      evaluation_(data_, EvaluationBatches(data_->validation.lengths(), encoder_->device().is_cpu(),
                                           adapter_.adapter().virtual_tokens())) {}

PackedBatch ClassificationTask::Packed(const TokenRows& data, const MicroBatch& rows) const {
  return PackRows(data, rows, encoder_->device(), adapter_.adapter().virtual_tokens());
}

std::unique_ptr<const Segments> ClassificationTask::Pass(const MicroBatch& rows) const {
  return training_.Pass(Packed(data_->train, rows), PickTargets(data_->train, rows, data_->problem));
}

std::optional<Metrics> ClassificationTask::EvaluationSlice() {
  return evaluation_.Slice(
      [this](const MicroBatch& rows) { return evaluating_.Logits(Packed(data_->validation, rows)); });
}

}  // namespace tenon::engine
