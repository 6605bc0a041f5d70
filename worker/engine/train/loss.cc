#include "worker/engine/train/loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace tenon::engine {
namespace {

// 1 where a row has the label, or the row's numbers: [R, labels] fp32.
at::Tensor Truth(const at::Tensor& logits, const Targets& targets) {
  const int64_t columns = logits.size(1);
  at::Tensor truth = at::zeros(logits.sizes(), at::kFloat);
  float* values = truth.mutable_data_ptr<float>();
  for (size_t row = 0; row < targets.labels.size(); ++row) {
    for (const int64_t label : targets.labels[row]) values[static_cast<int64_t>(row) * columns + label] = 1;
  }
  for (const std::vector<float>& row : targets.values) values = std::copy(row.begin(), row.end(), values);
  return truth.to(logits.device());
}

}  // namespace

at::Tensor SumLoss(const at::Tensor& logits, const Targets& targets) {
  const auto outputs = static_cast<double>(logits.size(1));
  switch (targets.problem) {
    case Problem::kRegression:
      return at::mse_loss(logits, Truth(logits, targets), at::Reduction::Sum) / outputs;
    case Problem::kMultiLabel:
      return at::binary_cross_entropy_with_logits(logits, Truth(logits, targets), {}, {}, at::Reduction::Sum) / outputs;
    case Problem::kSingleLabel:
      break;
  }
  std::vector<int64_t> classes;
  for (const auto& row : targets.labels) classes.push_back(row.front());
  return at::cross_entropy_loss(logits, at::tensor(classes, at::kLong).to(logits.device()), {}, at::Reduction::Sum);
}

at::Tensor MeanLossGradient(const at::Tensor& logits, const Targets& targets) {
  const int64_t terms = targets.problem == Problem::kSingleLabel ? logits.size(0) : logits.numel();
  const at::Tensor off = Predictions(logits, targets.problem) - Truth(logits, targets);
  return (targets.problem == Problem::kRegression ? off * 2 : off) / static_cast<double>(terms);
}

at::Tensor Predictions(const at::Tensor& logits, Problem problem) {
  switch (problem) {
    case Problem::kRegression:
      return logits;
    case Problem::kMultiLabel:
      return at::sigmoid(logits);
    case Problem::kSingleLabel:
      break;
  }
  return at::softmax(logits, 1);
}

}  // namespace tenon::engine
