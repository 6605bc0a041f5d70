// Products of bf16 lines and panels with fp32 sums, on processors that multiply bf16 themselves (AVX512-BF16). Internal
// to panel_gemm and panel_product.
#pragma once

#include <cstdint>

#include "worker/engine/model/activation_kind.h"

namespace tenon::engine::panel {

bool SupportsBf16();

// One panel: [steps, 32 outputs, 2 inputs]; x [lines, 2 * steps], y [lines, width], strides in numbers from line to
// line. Products of two neighbouring inputs are added in one instruction; denormal numbers count as 0.
void MultiplyBf16(const uint16_t* x, int64_t x_stride, int64_t lines, const uint16_t* panel, int64_t steps,
                  const float* bias, Activation activation, int64_t width, float* y, int64_t y_stride);

// One panel of a weight's lines or columns, filled up with zeros. Plain: outputs are `width` lines of the weight, the
// inputs its `inputs` columns; `weight` points to the first line. Turned: outputs are `width` columns, the inputs its
// lines; `weight` points to the first column. `stride` numbers from line to line.
void PackBf16(const uint16_t* weight, int64_t stride, int64_t inputs, int64_t width, bool turned, uint16_t* panel);

// Numbers of a rounded line: an even one, so that its inputs come in pairs.
constexpr int64_t Bf16LineSize(int64_t inputs) { return inputs + inputs % 2; }

// Lines as MultiplyBf16 takes them, without gaps, from x [lines, inputs] with `x_stride` numbers from line to line: the
// nearest bf16 numbers, halves to the even one, NaN stays NaN, and 0 behind an odd number of inputs.
void RoundLines(const float* x, int64_t x_stride, int64_t lines, int64_t inputs, uint16_t* y);

}  // namespace tenon::engine::panel
