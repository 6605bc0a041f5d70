// Some lines times one panel of a weight: what every format of panels shares. Include it where it says for which
// processors it is compiled (a target pragma before); free of torch.
#pragma once

#include <cstdint>
#include <cstring>

#include "worker/engine/model/activation_kind.h"
#include "worker/engine/model/vector_math.h"

namespace tenon::engine::panel {

// Outputs of a panel.
inline constexpr int64_t kWidth = 2 * vec::kLanes;
// 12 lines by 2 vectors of sums, 2 vectors of weights and one input: 27 of 32 registers.
inline constexpr int64_t kLines = 12;

TENON_INLINE void Apply(Activation activation, vec::Floats& x) {
  if (activation == Activation::kGelu) vec::Gelu(x);
  if (activation == Activation::kGeluTanh) vec::GeluTanh(x);
  if (activation == Activation::kRelu) vec::Relu(x);
}

// A panel's product. `Format` says what a number of a line is (Number), how many inputs a step takes (kInputs), what a
// step's weights of 16 outputs are (Weights, read by Load) and how a step is added to 16 sums (Add).
template <typename Format>
struct Product {
  const typename Format::Number* x = nullptr;  // lines, `x_stride` numbers from one to the next
  int64_t x_stride = 0;
  const typename Format::Number* panel = nullptr;
  int64_t steps = 0;
  const float* bias = nullptr;  // [kWidth]
  Activation activation = Activation::kNone;
  int64_t width = kWidth;  // outputs that are stored
  float* y = nullptr;
  int64_t y_stride = 0;
};

// `kCount` lines from `line` on.
template <typename Format, int64_t kCount>
TENON_INLINE void Tile(const Product<Format>& p, int64_t line) {
  const auto* x = p.x + line * p.x_stride;
  vec::Floats sums[kCount][2];
#pragma GCC unroll 12
  for (int64_t m = 0; m < kCount; ++m) {
    vec::Load(sums[m][0], p.bias);
    vec::Load(sums[m][1], p.bias + vec::kLanes);
  }
  for (int64_t k = 0; k < p.steps; ++k) {
    typename Format::Weights w0, w1;
    Format::Load(w0, p.panel + k * kWidth * Format::kInputs);
    Format::Load(w1, p.panel + (k * kWidth + vec::kLanes) * Format::kInputs);
#pragma GCC unroll 12
    for (int64_t m = 0; m < kCount; ++m) Format::Add(x + m * p.x_stride + k * Format::kInputs, w0, w1, sums[m]);
  }
  float* y = p.y + line * p.y_stride;
#pragma GCC unroll 12
  for (int64_t m = 0; m < kCount; ++m) {
    float part[kWidth];
    const bool whole = p.width == kWidth;
    float* to = whole ? y + m * p.y_stride : part;
#pragma GCC unroll 2
    for (int64_t j = 0; j < 2; ++j) {
      vec::Floats sum = sums[m][j];
      if (p.activation != Activation::kNone) Apply(p.activation, sum);
      vec::Store(to + j * vec::kLanes, sum);
    }
    if (!whole) std::memcpy(y + m * p.y_stride, part, static_cast<size_t>(p.width) * sizeof(float));
  }
}

template <typename Format>
TENON_INLINE void Multiply(const Product<Format>& product, int64_t lines) {
  int64_t line = 0;
  for (; line + kLines <= lines; line += kLines) Tile<Format, kLines>(product, line);
  // What a decoding step often has: the panel is read once.
  for (; line + 8 <= lines; line += 8) Tile<Format, 8>(product, line);
  for (; line + 4 <= lines; line += 4) Tile<Format, 4>(product, line);
  for (; line < lines; ++line) Tile<Format, 1>(product, line);
}

}  // namespace tenon::engine::panel
