// Scores of validation rows, batch by batch. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "worker/engine/evaluate/classification.h"
#include "worker/engine/evaluate/regression.h"
#include "worker/engine/train/learner.h"
#include "worker/engine/train/rows.h"

namespace tenon::engine {

// An evaluation of a classifier: `accuracy`, `macro_f1` and `loss`; of a regression `loss`, which is the mean squared
// error, `pearson` and `spearman`, the last two unless they are undefined.
class ClassifierEvaluation {
 public:
  // `batches` of the data's validation rows, each what one slice takes.
  ClassifierEvaluation(std::shared_ptr<const TokenData> data, std::vector<MicroBatch> batches)
      : data_(std::move(data)), batches_(std::move(batches)) {}

  bool any() const { return !batches_.empty(); }
  // Scores the next batch by its logits [R, labels], fp32; the metrics with the last one, after which it begins anew.
  std::optional<Metrics> Slice(const std::function<at::Tensor(const MicroBatch& rows)>& logits);

 private:
  void Begin();
  Metrics Finish();

  std::shared_ptr<const TokenData> data_;
  std::vector<MicroBatch> batches_;
  // Of the evaluation at hand; one of them, by the problem.
  std::unique_ptr<ClassificationEvaluator> classes_;
  std::unique_ptr<RegressionEvaluator> numbers_;
  size_t next_ = 0;
  double loss_sum_ = 0;
};

}  // namespace tenon::engine
