// What a transformer's layers do between their products, each in one pass over memory, with gradients written out. On
// the CPU, in fp32. Results do not depend on the number of threads. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/kernels/dropout.h"
#include "worker/engine/model/activation.h"

namespace tenon::engine {

using kernels::DropoutMask;

// x with `mask` applied: contiguous, fp32, seen as rows of its last dimension.
at::Tensor Dropout(const at::Tensor& x, const DropoutMask& mask);

// LayerNorm(dropout(x + bias) + residual) * weight + shift: [T, hidden]. `bias` may be undefined; it, weight and shift
// [hidden] are frozen.
struct FrozenNorm {
  at::Tensor weight, shift;
  double eps = 1e-12;
};
at::Tensor DropoutAddNorm(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual,
                          const FrozenNorm& norm, const DropoutMask& mask);

// activation(x + bias): [T, wide]. `bias` may be undefined and is frozen.
at::Tensor BiasActivation(const at::Tensor& x, const at::Tensor& bias, Activation activation);

}  // namespace tenon::engine
