#include "worker/engine/model/panel_gemm.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "worker/engine/model/vector_math.h"

namespace tenon::engine {
namespace {

using vec::Floats;

// 12 lines by 2 vectors of sums, 2 vectors of weights and one input: 27 of 32 registers.
constexpr int64_t kLines = 12;

TENON_INLINE void Apply(Activation activation, Floats& x) {
  if (activation == Activation::kGelu) vec::Gelu(x);
  if (activation == Activation::kGeluTanh) vec::GeluTanh(x);
  if (activation == Activation::kRelu) vec::Max(x, Floats{});
}

// `kCount` lines times one panel; `width` of its outputs are stored.
template <int64_t kCount>
TENON_INLINE void Tile(const float* x, int64_t x_stride, const float* panel, int64_t in, const float* bias,
                       Activation activation, int64_t width, float* y, int64_t y_stride) {
  Floats sums[kCount][2];
#pragma GCC unroll 12
  for (int64_t m = 0; m < kCount; ++m) {
    vec::Load(sums[m][0], bias);
    vec::Load(sums[m][1], bias + vec::kLanes);
  }
  for (int64_t k = 0; k < in; ++k) {
    Floats w0, w1;
    vec::Load(w0, panel + k * PanelWeight::kWidth);
    vec::Load(w1, panel + k * PanelWeight::kWidth + vec::kLanes);
#pragma GCC unroll 12
    for (int64_t m = 0; m < kCount; ++m) {
      sums[m][0] += x[m * x_stride + k] * w0;
      sums[m][1] += x[m * x_stride + k] * w1;
    }
  }
#pragma GCC unroll 12
  for (int64_t m = 0; m < kCount; ++m) {
    float line[PanelWeight::kWidth];
    const bool whole = width == PanelWeight::kWidth;
    float* to = whole ? y + m * y_stride : line;
#pragma GCC unroll 2
    for (int64_t j = 0; j < 2; ++j) {
      Floats sum = sums[m][j];
      if (activation != Activation::kNone) Apply(activation, sum);
      vec::Store(to + j * vec::kLanes, sum);
    }
    if (!whole) std::memcpy(y + m * y_stride, line, static_cast<size_t>(width) * sizeof(float));
  }
}

// For one processor family alone: elsewhere these sums do not fit the registers, and the library is faster.
__attribute__((target("arch=x86-64-v4"))) void Panel(const float* x, int64_t x_stride, int64_t lines,
                                                     const float* panel, int64_t in, const float* bias,
                                                     Activation activation, int64_t width, float* y, int64_t y_stride) {
  int64_t t = 0;
  for (; t + kLines <= lines; t += kLines) {
    Tile<kLines>(x + t * x_stride, x_stride, panel, in, bias, activation, width, y + t * y_stride, y_stride);
  }
  for (; t + 8 <= lines; t += 8) {  // what a decoding step often has: the panel is read once
    Tile<8>(x + t * x_stride, x_stride, panel, in, bias, activation, width, y + t * y_stride, y_stride);
  }
  for (; t + 4 <= lines; t += 4) {
    Tile<4>(x + t * x_stride, x_stride, panel, in, bias, activation, width, y + t * y_stride, y_stride);
  }
  for (; t < lines; ++t) {
    Tile<1>(x + t * x_stride, x_stride, panel, in, bias, activation, width, y + t * y_stride, y_stride);
  }
}

}  // namespace

bool PanelWeight::Supported() { return __builtin_cpu_supports("x86-64-v4"); }

void PanelWeight::Free::operator()(float* data) const { std::free(data); }

PanelWeight::PanelWeight(const float* weight, const float* bias, int64_t out, int64_t in) : out_(out), in_(in) {
  constexpr size_t kCacheLine = 64;
  const auto bytes = static_cast<size_t>(Bytes());
  data_.reset(static_cast<float*>(std::aligned_alloc(kCacheLine, bytes)));
  if (data_ == nullptr) throw std::bad_alloc();
  std::memset(data_.get(), 0, bytes);
  for (int64_t o = 0; o < out; ++o) {
    float* panel = data_.get() + o / kWidth * kWidth * in + o % kWidth;
    for (int64_t k = 0; k < in; ++k) panel[k * kWidth] = weight[o * in + k];
  }
  if (bias != nullptr) std::copy(bias, bias + out, data_.get() + panels() * kWidth * in);
}

int64_t PanelWeight::Bytes() const { return panels() * kWidth * (in_ + 1) * static_cast<int64_t>(sizeof(float)); }

void PanelWeight::Multiply(const float* x, int64_t x_stride, int64_t lines, Activation activation, int64_t first,
                           int64_t last, float* y, int64_t y_stride) const {
  const float* biases = data_.get() + panels() * kWidth * in_;
  for (int64_t p = first; p < last; ++p) {
    Panel(x, x_stride, lines, data_.get() + p * kWidth * in_, in_, biases + p * kWidth, activation,
          std::min(kWidth, out_ - p * kWidth), y + (p - first) * kWidth, y_stride);
  }
}

}  // namespace tenon::engine
