// Sixteen floats at a time in the compiler's own vectors: what fused kernels share. To be inlined into a function that
// says for which processors it is compiled; free of torch.
#pragma once

#include <cstdint>
#include <cstring>

#include "worker/engine/kernels/cpu_clones.h"

#define TENON_KERNEL TENON_CPU_CLONES

namespace tenon::engine::vec {

inline constexpr int64_t kLanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

// By reference: a vector wider than the caller's registers has no calling convention.
TENON_INLINE void Load(Floats& to, const float* from) { std::memcpy(&to, from, sizeof(to)); }
TENON_INLINE void Store(float* to, const Floats& from) { std::memcpy(to, &from, sizeof(from)); }
TENON_INLINE void Fill(Floats& to, float value) { to = value - Floats{}; }

TENON_INLINE float Sum(const Floats& x) {
  // Halves onto halves: four additions deep instead of sixteen.
  Floats s = x + __builtin_shuffle(x, Ints{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7});
  s += __builtin_shuffle(s, Ints{4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11});
  s += __builtin_shuffle(s, Ints{2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13});
  return s[0] + s[1];
}

// Of x and NaN it may be either.
TENON_INLINE void Max(Floats& x, const Floats& y) { x = x > y ? x : y; }

// NaN stays NaN, as in all that follows: what comes out of a model that overflows must not look like a result.
TENON_INLINE void Relu(Floats& x) { x = x < 0 ? Floats{} : x; }

// e^x for x <= 88; 0 below -87. x = n ln 2 + r with |r| <= ln 2 / 2, and e^r by its series to r^6.
TENON_INLINE void Exp(Floats& x) {
  const Floats low = -87.0f - Floats{};
  const Ints drop = x < low;
  const Floats clipped = drop ? low : x;
  // Adding 1.5 * 2^23 leaves the nearest integer in the last bits.
  const Floats shifted = clipped * 1.44269504088896341f + 12582912.0f;
  const Floats n = shifted - 12582912.0f;
  Floats r = clipped - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Floats p = r * (1.0f / 720) + (1.0f / 120);
  p = p * r + (1.0f / 24);
  p = p * r + (1.0f / 6);
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Ints power = ((Ints)shifted - 0x4B400000 + 127) << 23;
  x = drop ? Floats{} : p * (Floats)power;
}

// x Phi(x), the exact GELU; erf by Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7.
TENON_INLINE void Gelu(Floats& x) {
  const Floats z = x * 0.70710678118654752f;
  const Floats size = z < 0 ? -z : z;
  const Floats t = 1.0f / (size * 0.3275911f + 1.0f);
  Floats p = t * 1.061405429f - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  Floats e = -(z * z);
  Exp(e);
  const Floats erf = 1.0f - p * t * e;
  x = x * 0.5f * (1.0f + (z < 0 ? -erf : erf));
}

// The tanh form: x / (1 + e^(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
TENON_INLINE void GeluTanh(Floats& x) {
  Floats e = x * (x * x * 0.044715f + 1.0f) * -1.5957691216057308f;
  const Floats high = 80.0f - Floats{};
  e = e < high ? e : high;
  Exp(e);
  x = x / (e + 1.0f);
}

}  // namespace tenon::engine::vec
