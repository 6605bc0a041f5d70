#include "worker/engine/model/panel_bf16.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>

// What follows is compiled for these processors alone; nobody calls it elsewhere.
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16")
#include "worker/engine/model/panel_tile.h"

namespace tenon::engine::panel {
namespace {

struct Bf16 {
  using Number = uint16_t;
  using Weights = __m512bh;
  static constexpr int64_t kInputs = 2;

  TENON_INLINE static void Load(Weights& to, const Number* from) { std::memcpy(&to, from, sizeof(to)); }
  TENON_INLINE static void Add(const Number* x, const Weights& w0, const Weights& w1, vec::Floats* sums) {
    int32_t pair = 0;
    std::memcpy(&pair, x, sizeof(pair));
    const auto inputs = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
    sums[0] = _mm512_dpbf16_ps(sums[0], inputs, w0);
    sums[1] = _mm512_dpbf16_ps(sums[1], inputs, w1);
  }
};

}  // namespace

void MultiplyBf16(const uint16_t* x, int64_t x_stride, int64_t lines, const uint16_t* panel, int64_t steps,
                  const float* bias, Activation activation, int64_t width, float* y, int64_t y_stride) {
  Multiply(Product<Bf16>{x, x_stride, panel, steps, bias, activation, width, y, y_stride}, lines);
}

void PackBf16(const uint16_t* weight, int64_t stride, int64_t inputs, int64_t width, bool turned, uint16_t* panel) {
  const int64_t steps = (inputs + 1) / 2;
  if (width < kWidth) std::memset(panel, 0, static_cast<size_t>(steps * 2 * kWidth) * sizeof(uint16_t));
  for (int64_t s = 0; s < inputs / 2; ++s) {
    uint16_t* to = panel + s * 2 * kWidth;
    if (!turned) {
      const uint16_t* from = weight + 2 * s;
      for (int64_t o = 0; o < width; ++o) std::memcpy(to + 2 * o, from + o * stride, 2 * sizeof(uint16_t));
      continue;
    }
    const uint16_t *even = weight + 2 * s * stride, *odd = even + stride;
    for (int64_t o = 0; o < width; ++o) {
      to[2 * o] = even[o];
      to[2 * o + 1] = odd[o];
    }
  }
  if (inputs % 2 == 0) return;
  uint16_t* to = panel + (steps - 1) * 2 * kWidth;
  const int64_t last = (inputs - 1) * (turned ? stride : 1), step = turned ? 1 : stride;
  for (int64_t o = 0; o < width; ++o) {
    to[2 * o] = weight[last + o * step];
    to[2 * o + 1] = 0;
  }
}

void RoundLines(const float* x, int64_t x_stride, int64_t lines, int64_t inputs, uint16_t* y) {
  const int64_t size = Bf16LineSize(inputs);
  for (int64_t t = 0; t < lines; ++t, x += x_stride, y += size) {
    for (int64_t i = 0; i < inputs; i += vec::kLanes) {
      const int64_t rest = inputs - i;
      const auto mask = static_cast<__mmask16>(rest >= vec::kLanes ? 0xFFFF : (1 << rest) - 1);
      const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + i));
      _mm256_mask_storeu_epi16(y + i, mask, reinterpret_cast<__m256i>(rounded));
    }
    if (size > inputs) y[inputs] = 0;
  }
}

}  // namespace tenon::engine::panel
#pragma GCC pop_options

namespace tenon::engine::panel {
bool SupportsBf16() { return __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16"); }
}  // namespace tenon::engine::panel

#else

namespace tenon::engine::panel {
bool SupportsBf16() { return false; }
void MultiplyBf16(const uint16_t*, int64_t, int64_t, const uint16_t*, int64_t, const float*, Activation, int64_t,
                  float*, int64_t) {
  std::abort();
}
void PackBf16(const uint16_t*, int64_t, int64_t, int64_t, bool, uint16_t*) { std::abort(); }
void RoundLines(const float*, int64_t, int64_t, int64_t, uint16_t*) { std::abort(); }
}  // namespace tenon::engine::panel

#endif
