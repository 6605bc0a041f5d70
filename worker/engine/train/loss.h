// Losses of classes and of numbers. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/train/problem.h"

namespace tenon::engine {

// Sum of the rows' losses of logits [R, labels], fp32 scalar: cross entropy; for several labels binary cross entropy,
// and for numbers the squared error, mean over the outputs (torch's CrossEntropyLoss, BCEWithLogitsLoss and MSELoss).
at::Tensor SumLoss(const at::Tensor& logits, const Targets& targets);

// Gradient of their mean by the logits, [R, labels].
at::Tensor MeanLossGradient(const at::Tensor& logits, const Targets& targets);

// What the model says of its logits: softmax, sigmoid for several labels; numbers are as they are.
at::Tensor Predictions(const at::Tensor& logits, Problem problem);

}  // namespace tenon::engine
