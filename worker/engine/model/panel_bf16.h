// Products of bf16 lines and panels with fp32 sums, on processors that multiply bf16 themselves (AVX512-BF16). Internal
// to panel_gemm.
#pragma once

#include <cstdint>

#include "worker/engine/model/activation_kind.h"

namespace tenon::engine::panel {

bool SupportsBf16();

// One panel: [steps, 32 outputs, 2 inputs]; x [lines, 2 * steps], y [lines, width], strides in numbers from line to
// line. Products of two neighbouring inputs are added in one instruction; denormal numbers count as 0.
void MultiplyBf16(const uint16_t* x, int64_t x_stride, int64_t lines, const uint16_t* panel, int64_t steps,
                  const float* bias, Activation activation, int64_t width, float* y, int64_t y_stride);

// Nearest bf16 numbers, halves to the even one; NaN stays NaN.
void RoundToBf16(const float* x, int64_t count, uint16_t* y);

}  // namespace tenon::engine::panel
