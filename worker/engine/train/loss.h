// Classification losses. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace tenon::engine {

// Label indices of each row.
using RowLabels = std::vector<std::vector<int64_t>>;

// Sum of the rows' losses of logits [R, labels], fp32 scalar: cross entropy, or for multi-label binary cross entropy,
// mean over the labels (torch's CrossEntropyLoss and BCEWithLogitsLoss).
at::Tensor SumLoss(const at::Tensor& logits, const RowLabels& labels, bool multi_label);

// Gradient of their mean by the logits, [R, labels].
at::Tensor MeanLossGradient(const at::Tensor& logits, const RowLabels& labels, bool multi_label);

// Softmax, or sigmoid for multi-label.
at::Tensor Probabilities(const at::Tensor& logits, bool multi_label);

}  // namespace tenon::engine
