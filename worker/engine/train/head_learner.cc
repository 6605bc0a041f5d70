#include "worker/engine/train/head_learner.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::engine {
namespace {

constexpr int64_t kProbeSliceRows = 4096;

TrainOptions ProbeOptions(TrainOptions options) {
  // Vectors have no length to group by, and a step is one product whatever its size.
  options.group_by_length = false;
  return options;
}

}  // namespace

HeadLearner::HeadLearner(std::shared_ptr<const Encoder> encoder, const TrainOptions& options,
                         std::shared_ptr<const TokenData> data, TrainableAdapter adapter)
    : encoder_(std::move(encoder)),
      data_(std::move(data)),
      adapter_(std::move(adapter)),
      plan_(ProbeOptions(options), std::vector<int64_t>(data_->train.size(), 1)),
      evaluation_(data_,
                  BatchesByTokens(std::vector<int64_t>(data_->validation.size(), 1), kProbeSliceRows, kProbeSliceRows)),
      train_(MakeFeatures(data_->train)),
      validation_(MakeFeatures(data_->validation)) {}

HeadLearner::Features HeadLearner::MakeFeatures(const TokenRows& rows) const {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(encoder_->device());
  return {&rows, EvaluationBatches(rows.lengths(), encoder_->device().is_cpu()), 0,
          at::empty({rows.size(), encoder_->config().vector_size()}, options)};
}

absl::StatusOr<bool> HeadLearner::Prepare() {
  for (Features* features : {&train_, &validation_}) {
    if (features->next < features->batches.size()) {
      Fill(*features);
      return true;
    }
  }
  return false;
}

void HeadLearner::Fill(Features& features) const {
  const at::NoGradGuard no_grad;
  const MicroBatch& rows = features.batches[features.next++];
  const PackedBatch batch = PackRows(*features.rows, rows, encoder_->device());
  at::Tensor x = encoder_->Embed(batch, {});
  for (int64_t i = 0; i < encoder_->config().num_hidden_layers; ++i) {
    x = encoder_->Layer(i, x, batch, {}, Lines::kTokens);
  }
  const formats::TenonConfig& config = adapter_.adapter().config;
  const at::Tensor index = at::tensor(rows, at::kLong).to(encoder_->device());
  features.values.index_copy_(0, index,
                              PoolSentences(x, batch, config.pooling, config.normalize, encoder_->projection()));
}

at::Tensor HeadLearner::Vectors(const Features& features, const MicroBatch& rows) const {
  return features.values.index_select(0, at::tensor(rows, at::kLong).to(encoder_->device()));
}

absl::StatusOr<std::optional<StepResult>> HeadLearner::TrainSlice(int64_t step) {
  const at::NoGradGuard no_grad;
  MicroBatch rows;
  for (const MicroBatch& part : plan_.Step(step)) rows.insert(rows.end(), part.begin(), part.end());
  const Targets targets = PickTargets(data_->train, rows, data_->problem);
  const at::Tensor x = Vectors(train_, rows);
  std::vector<Parameter>& parameters = adapter_.parameters();  // weight and bias
  const at::Tensor logits = at::linear(x, adapter_.head().weight, adapter_.head().bias);
  const auto examples = static_cast<int64_t>(rows.size());
  const double loss = SumLoss(logits, targets).item<double>() / static_cast<double>(examples);
  if (!std::isfinite(loss)) {
    return TenonError(Reason::kLossNotFinite, absl::StrCat("the training loss became ", loss));
  }
  const at::Tensor gradient = MeanLossGradient(logits, targets);
  for (Parameter& parameter : parameters) {
    parameter.grad = parameter.decay ? gradient.t().mm(x) : gradient.sum(0);
  }
  return StepResult{loss, examples, data_->train.Tokens(rows)};
}

std::optional<Metrics> HeadLearner::EvaluationSlice() {
  return evaluation_.Slice([this](const MicroBatch& rows) {
    return at::linear(Vectors(validation_, rows), adapter_.head().weight, adapter_.head().bias);
  });
}

}  // namespace tenon::engine
