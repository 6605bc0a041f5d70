#include "worker/engine/train/evaluation.h"

#include <ATen/core/grad_mode.h>

#include "worker/engine/train/loss.h"

namespace tenon::engine {

std::optional<Metrics> ClassifierEvaluation::Slice(const std::function<at::Tensor(const MicroBatch& rows)>& logits) {
  const auto labels = static_cast<int64_t>(data_->labels.size());
  if (evaluator_ == nullptr) {
    evaluator_ = std::make_unique<ClassificationEvaluator>(labels, data_->multi_label);
    next_ = 0;
    loss_sum_ = 0;
  }
  const at::NoGradGuard no_grad;
  const MicroBatch& rows = batches_[next_++];
  RowLabels truth;
  for (const int64_t row : rows) truth.push_back(data_->validation.labels[row]);
  const at::Tensor values_of_rows = logits(rows);
  loss_sum_ += SumLoss(values_of_rows, truth, data_->multi_label).item<double>();
  const at::Tensor probabilities = Probabilities(values_of_rows, data_->multi_label).cpu().contiguous();
  const float* values = probabilities.const_data_ptr<float>();
  for (size_t i = 0; i < rows.size(); ++i, values += labels) {
    evaluator_->Add(truth[i], std::vector<float>(values, values + labels));
  }
  if (next_ < batches_.size()) return std::nullopt;
  const ClassificationScores scores = evaluator_->Finish();
  evaluator_.reset();
  return Metrics{{"accuracy", scores.accuracy},
                 {"macro_f1", scores.macro_f1},
                 {"loss", loss_sum_ / static_cast<double>(scores.rows)}};
}

}  // namespace tenon::engine
