#include "worker/engine/model/panel_bf16.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>

// What follows is compiled for these processors alone; nobody calls it elsewhere.
#pragma GCC push_options
// GCC 12's own headers begin some registers with themselves.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
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

namespace {

// 16 x 16 pairs of numbers: to[j] gets pair j of every line. Lines and `to` in numbers, from one to the next.
TENON_INLINE void TurnPairs(const uint16_t* lines, int64_t stride, uint16_t* to, int64_t to_stride) {
  __m512i a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(lines + i * stride);
    // Within each quarter of a register: pairs of two lines, then of four.
#pragma GCC unroll 16
  for (int i = 0; i < 8; ++i) {
    b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
    b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      a[4 * i + 2 * h] = _mm512_unpacklo_epi64(b[4 * i + h], b[4 * i + 2 + h]);
      a[4 * i + 2 * h + 1] = _mm512_unpackhi_epi64(b[4 * i + h], b[4 * i + 2 + h]);
    }
  }
  // a[4 * i + c] now has in its quarter q pair 4 * q + c of lines 4 * i .. 4 * i + 3: the quarters change places.
#pragma GCC unroll 16
  for (int c = 0; c < 4; ++c) {
    const __m512i even01 = _mm512_shuffle_i32x4(a[c], a[4 + c], 0x88),
                  odd01 = _mm512_shuffle_i32x4(a[c], a[4 + c], 0xdd);
    const __m512i even23 = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0x88);
    const __m512i odd23 = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0xdd);
    _mm512_storeu_si512(to + c * to_stride, _mm512_shuffle_i32x4(even01, even23, 0x88));
    _mm512_storeu_si512(to + (4 + c) * to_stride, _mm512_shuffle_i32x4(odd01, odd23, 0x88));
    _mm512_storeu_si512(to + (8 + c) * to_stride, _mm512_shuffle_i32x4(even01, even23, 0xdd));
    _mm512_storeu_si512(to + (12 + c) * to_stride, _mm512_shuffle_i32x4(odd01, odd23, 0xdd));
  }
}

// 32 numbers of two lines in turns.
TENON_INLINE void MixLines(const uint16_t* even, const uint16_t* odd, uint16_t* to) {
  const __m512i a = _mm512_loadu_si512(even), b = _mm512_loadu_si512(odd);
  const __m512i low = _mm512_unpacklo_epi16(a, b), high = _mm512_unpackhi_epi16(a, b);
  const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  _mm512_storeu_si512(to, _mm512_permutex2var_epi64(low, first, high));
  _mm512_storeu_si512(to + 32, _mm512_permutex2var_epi64(low, second, high));
}

}  // namespace

void PackBf16(const uint16_t* weight, int64_t stride, int64_t inputs, int64_t width, bool turned, uint16_t* panel) {
  const int64_t steps = (inputs + 1) / 2, size = 2 * kWidth;
  if (width < kWidth) std::memset(panel, 0, static_cast<size_t>(steps * size) * sizeof(uint16_t));
  int64_t s = 0;
  if (width == kWidth && !turned) {
    for (; s + 16 <= inputs / 2; s += 16) {
      TurnPairs(weight + 2 * s, stride, panel + s * size, size);
      TurnPairs(weight + 16 * stride + 2 * s, stride, panel + s * size + kWidth, size);
    }
  }
  if (width == kWidth && turned) {
    for (; s < inputs / 2; ++s) MixLines(weight + 2 * s * stride, weight + (2 * s + 1) * stride, panel + s * size);
  }
  // What is left: by single numbers.
  for (int64_t input = 2 * s; input < inputs; ++input) {
    uint16_t* const to = panel + input / 2 * size + input % 2;
    const uint16_t* const from = weight + input * (turned ? stride : 1);
    for (int64_t o = 0; o < width; ++o) to[2 * o] = from[o * (turned ? 1 : stride)];
  }
  if (inputs % 2 == 0) return;
  for (int64_t o = 0; o < width; ++o) panel[(steps - 1) * size + 2 * o + 1] = 0;
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
#pragma GCC diagnostic pop
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
