// Sixteen floats at once, in the compiler's own vector types: the same source becomes AVX-512, AVX2 or plain code.
#pragma once

#include <cstdint>
#include <cstring>

#include "worker/engine/kernels/cpu_clones.h"

namespace tenon::engine::kernels {

constexpr int64_t kLanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

TENON_INLINE Floats Load(const float* from) {
  Floats value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
TENON_INLINE void Store(float* to, Floats value) { std::memcpy(to, &value, sizeof(value)); }
TENON_INLINE Floats Splat(float value) { return value - Floats{}; }

// The first `count` lanes, at most all; the others are 0.
TENON_INLINE Floats LoadFirst(const float* from, int64_t count) {
  if (count >= kLanes) return Load(from);
  Floats value{};
  for (int64_t i = 0; i < count; ++i) value[i] = from[i];
  return value;
}
TENON_INLINE void StoreFirst(float* to, Floats value, int64_t count) {
  if (count >= kLanes) return Store(to, value);
  for (int64_t i = 0; i < count; ++i) to[i] = value[i];
}
// `value` in the first `count` > 0 lanes, `other` in the rest.
TENON_INLINE Floats KeepFirst(Floats value, int64_t count, Floats other = Floats{}) {
  constexpr Ints kPlace = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return kPlace < static_cast<int32_t>(count < kLanes ? count : kLanes) ? value : other;
}

TENON_INLINE float Sum(Floats value) {
  typedef float Half __attribute__((vector_size(32)));
  typedef float Quarter __attribute__((vector_size(16)));
  Half halves[2];
  std::memcpy(halves, &value, sizeof(value));
  const Half half = halves[0] + halves[1];
  Quarter quarters[2];
  std::memcpy(quarters, &half, sizeof(half));
  const Quarter sum = quarters[0] + quarters[1];
  return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}
TENON_INLINE Floats Max(Floats a, Floats b) { return a > b ? a : b; }
TENON_INLINE float Largest(Floats value) {
  typedef float Half __attribute__((vector_size(32)));
  typedef float Quarter __attribute__((vector_size(16)));
  Half halves[2];
  std::memcpy(halves, &value, sizeof(value));
  const Half half = halves[0] > halves[1] ? halves[0] : halves[1];
  Quarter quarters[2];
  std::memcpy(quarters, &half, sizeof(half));
  const Quarter four = quarters[0] > quarters[1] ? quarters[0] : quarters[1];
  const float even = four[0] > four[2] ? four[0] : four[2], odd = four[1] > four[3] ? four[1] : four[3];
  return even > odd ? even : odd;
}

// e^x to a few units in the last place; x is first brought into [-87, 88].
TENON_INLINE Floats Exp(Floats x) {
  x = x > 88.0F ? Splat(88.0F) : x;
  x = x < -87.0F ? Splat(-87.0F) : x;
  // Adding 1.5 * 2^23 leaves no bits for a fraction: n is x / ln 2, rounded.
  constexpr float kRound = 12582912.0F;
  Floats n = x * 1.44269504F + kRound;
  const Ints exponent = (Ints)n - (Ints)Splat(kRound);
  n -= kRound;
  const Floats r = x - n * 0.693359375F + n * 2.12194440e-4F;  // ln 2 in two parts
  Floats sum = Splat(1.0F / 5040);
  sum = sum * r + 1.0F / 720;
  sum = sum * r + 1.0F / 120;
  sum = sum * r + 1.0F / 24;
  sum = sum * r + 1.0F / 6;
  sum = sum * r + 0.5F;
  sum = sum * r + 1.0F;
  sum = sum * r + 1.0F;
  return sum * (Floats)((exponent + 127) << 23);
}

}  // namespace tenon::engine::kernels
