// A product of fp32 states with a bf16 weight that nobody packed before: for training, where each weight is needed both
// ways and a step changes from one to the next. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

namespace tenon::engine {

// Whether this processor has the instructions (AVX512-BF16).
bool HavePanelProduct();

// x W^T, or with `turned` x W: x [T, k] fp32, rounded to bf16 for the product; weight [out, in] bf16 -> [T, out] or
// [T, in], fp32, summed in fp32. No number of lines compiles a kernel of its own, and the number of threads changes no
// result.
at::Tensor PanelProduct(const at::Tensor& x, const at::Tensor& weight, bool turned);

}  // namespace tenon::engine
