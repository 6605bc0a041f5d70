// Products with frozen weights, low-rank adapters added, gradients written out. On the CPU. Engine-internal, torch
// inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/kernels/dropout.h"

namespace tenon::engine {

// LoRA (Hu et al., 2021) on outputs first .. first + out - 1: they get scale * dropout(x) A^T B^T, in fp32.
struct LowRank {
  at::Tensor a, b;  // [r, in], [out, r]
  double scale = 1;
  int64_t first = 0;
  kernels::DropoutMask mask;
};

// x W^T with every adapter's part, without a bias: x [T, in] fp32, weight [out, in] frozen, in any precision ->
// [T, out] fp32. Gradients go to x and to every a and b.
at::Tensor AdaptedLinear(const at::Tensor& x, const at::Tensor& weight, const std::vector<LowRank>& adapters);

// Whether products with a bf16 weight round the other operand to bf16 too, or widen the weight to fp32 for the moment.
// A fixed property of the CPU's kind: Intel's cores without AMX multiply bf16 at half the rate of fp32, AMD's at twice.
bool MultipliesInBf16();

}  // namespace tenon::engine
