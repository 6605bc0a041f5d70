#include "worker/engine/train/loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

namespace tenon::engine {
namespace {

// 1 where a row has the label, [R, labels] fp32.
at::Tensor Truth(const at::Tensor& logits, const RowLabels& labels) {
  const int64_t columns = logits.size(1);
  at::Tensor truth = at::zeros(logits.sizes(), at::kFloat);
  float* values = truth.mutable_data_ptr<float>();
  for (size_t row = 0; row < labels.size(); ++row) {
    for (const int64_t label : labels[row]) values[static_cast<int64_t>(row) * columns + label] = 1;
  }
  return truth.to(logits.device());
}

}  // namespace

at::Tensor SumLoss(const at::Tensor& logits, const RowLabels& labels, bool multi_label) {
  if (multi_label) {
    const at::Tensor truth = Truth(logits, labels);
    return at::binary_cross_entropy_with_logits(logits, truth, {}, {}, at::Reduction::Sum) /
           static_cast<double>(logits.size(1));
  }
  std::vector<int64_t> targets;
  for (const auto& row : labels) targets.push_back(row.front());
  return at::cross_entropy_loss(logits, at::tensor(targets, at::kLong).to(logits.device()), {}, at::Reduction::Sum);
}

at::Tensor MeanLossGradient(const at::Tensor& logits, const RowLabels& labels, bool multi_label) {
  const int64_t terms = multi_label ? logits.numel() : logits.size(0);
  return (Probabilities(logits, multi_label) - Truth(logits, labels)) / static_cast<double>(terms);
}

at::Tensor Probabilities(const at::Tensor& logits, bool multi_label) {
  return multi_label ? at::sigmoid(logits) : at::softmax(logits, 1);
}

}  // namespace tenon::engine
