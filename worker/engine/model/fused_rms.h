// What a transformer with root mean square norms before its sub-layers does between products, each in one pass over
// memory, with gradients written out. On the CPU, in fp32. Results do not depend on the number of threads.
// Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

#include "worker/engine/kernels/dropout.h"

namespace tenon::engine {

// A norm's weight [hidden], fp32. It gets a gradient where it asks for one.
struct Rms {
  at::Tensor weight;
  double eps = 1e-6;
};

// x / sqrt(mean(x^2) + eps) * weight: [T, hidden].
at::Tensor RmsNormalized(const at::Tensor& x, const Rms& norm);

// dropout(x) + residual, and its norm: [T, hidden] each.
std::pair<at::Tensor, at::Tensor> DropoutAddRms(const at::Tensor& x, const at::Tensor& residual, const Rms& norm,
                                                const kernels::DropoutMask& mask);

// dropout(gelu_tanh(first half) * second half) of each line: [T, 2 * size] -> [T, size].
at::Tensor DropoutGate(const at::Tensor& x, const kernels::DropoutMask& mask);

}  // namespace tenon::engine
