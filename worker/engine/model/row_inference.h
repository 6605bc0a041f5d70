// Our own kernels for inference on the CPU, on torch's tensors: fp32, lines one behind the other. Threads share one
// call's work, unless the caller already is one of several (at::parallel_for). Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/model/attend.h"
#include "worker/engine/model/panel_gemm.h"

namespace tenon::engine {

// Copies of a frozen layer's weight [out, in] and bias [out], in panels. This processor must support the format.
PanelWeight PackPanels(const at::Tensor& weight, const at::Tensor& bias, PanelFormat format);

// activation(x W^T + b) for outputs of panels [first, last): [T, in] -> [T, outputs of these panels]. Bf16 panels round
// x for the product.
at::Tensor PanelLinear(const at::Tensor& x, const PanelWeight& weight, Activation activation, int64_t first,
                       int64_t last);

// Softmax attention over spans; q, k and v [lines, hidden], possibly slices of one product: -> [queries, hidden].
at::Tensor SpanAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const std::vector<AttentionSpan>& spans, int64_t heads);

// x <- layer_norm(x + residual), in x's memory; `residual` may be undefined. x [T, hidden]; weight and bias fp32.
void AddNorm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias,
             double eps);

}  // namespace tenon::engine
