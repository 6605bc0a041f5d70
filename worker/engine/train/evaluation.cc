#include "worker/engine/train/evaluation.h"

#include <ATen/core/grad_mode.h>

#include "worker/engine/train/loss.h"
#include "worker/engine/train/network.h"

namespace tenon::engine {

void ClassifierEvaluation::Begin() {
  const auto labels = static_cast<int64_t>(data_->labels.size());
  if (data_->problem == Problem::kRegression) {
    numbers_ = std::make_unique<RegressionEvaluator>(labels);
  } else {
    classes_ = std::make_unique<ClassificationEvaluator>(labels, data_->problem == Problem::kMultiLabel);
  }
  next_ = 0;
  loss_sum_ = 0;
}

std::optional<Metrics> ClassifierEvaluation::Slice(const std::function<at::Tensor(const MicroBatch& rows)>& logits) {
  const auto labels = static_cast<int64_t>(data_->labels.size());
  if (classes_ == nullptr && numbers_ == nullptr) Begin();
  const at::NoGradGuard no_grad;
  const MicroBatch& rows = batches_[next_++];
  const Targets truth = PickTargets(data_->validation, rows, data_->problem);
  const at::Tensor values_of_rows = logits(rows);
  loss_sum_ += SumLoss(values_of_rows, truth).item<double>();
  const at::Tensor predictions = Predictions(values_of_rows, data_->problem).cpu().contiguous();
  const float* values = predictions.const_data_ptr<float>();
  for (size_t i = 0; i < rows.size(); ++i, values += labels) {
    const std::vector<float> row(values, values + labels);
    if (numbers_ != nullptr) {
      numbers_->Add(truth.values[i], row);
    } else {
      classes_->Add(truth.labels[i], row);
    }
  }
  if (next_ < batches_.size()) return std::nullopt;
  return Finish();
}

Metrics ClassifierEvaluation::Finish() {
  if (numbers_ != nullptr) {
    const RegressionScores scores = numbers_->Finish();
    numbers_.reset();
    Metrics metrics{{"loss", loss_sum_ / static_cast<double>(scores.rows)}};
    if (scores.pearson.has_value()) metrics["pearson"] = *scores.pearson;
    if (scores.spearman.has_value()) metrics["spearman"] = *scores.spearman;
    return metrics;
  }
  const ClassificationScores scores = classes_->Finish();
  classes_.reset();
  return {{"accuracy", scores.accuracy},
          {"macro_f1", scores.macro_f1},
          {"loss", loss_sum_ / static_cast<double>(scores.rows)}};
}

}  // namespace tenon::engine
