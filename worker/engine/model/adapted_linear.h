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

// x W^T, or with `turned` x W, by the same rule: no adapters, no gradients.
at::Tensor FrozenProduct(const at::Tensor& x, const at::Tensor& weight, bool turned);

// How products with a bf16 weight are computed. A fixed property of the CPU's kind, so that a resumed job repeats
// itself.
enum class Bf16Product {
  kWidened,  // the weight is widened to fp32 for the moment: Intel's cores without AMX multiply bf16 at half fp32's
             // rate
  kPanels,   // our own product, the other operand rounded to bf16: AMD's cores with AVX512-BF16, at twice fp32's rate
  kLibrary,  // the library's, the other operand rounded to bf16: AMX
};
Bf16Product HowBf16Multiplies();

}  // namespace tenon::engine
