// Softmax attention of a few queries to keys that lie transposed: what kernels for spans and for decoding steps share.
// To be inlined into a function that says for which processors it is compiled; free of torch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "worker/engine/model/vector_math.h"

namespace tenon::engine::attend {

using vec::Floats;
using vec::kLanes;

inline constexpr int64_t kQueries = 4;  // in registers at a time
inline constexpr int64_t kMaxHeadSize = 128;

inline int64_t Padded(int64_t keys) { return (keys + kLanes - 1) / kLanes * kLanes; }

// One head of one span.
struct Unit {
  const float *q, *k, *v;
  int64_t q_stride, k_stride, v_stride;
  int64_t queries, keys, head_size;
  float scale;
  const float* bias;  // of the key at the first query's own place, or nullptr
  float* out;
  int64_t out_stride;
  float* keys_turned;  // [head_size, padded]: room for the keys, transposed
  float* scores;       // [kQueries, padded]
  int64_t padded;      // keys rounded up to whole vectors
};

// scores [kCount, padded] = scale q k^T + bias, for the queries from `query` on.
template <int64_t kCount, int64_t kVectors>
TENON_INLINE void ScoreBlock(const Unit& unit, int64_t query, int64_t key) {
  const float* q = unit.q + query * unit.q_stride;
  Floats sums[kCount][kVectors] = {};
  for (int64_t d = 0; d < unit.head_size; ++d) {
    const float* keys = unit.keys_turned + d * unit.padded + key;
    Floats k[kVectors];
#pragma GCC unroll 4
    for (int64_t j = 0; j < kVectors; ++j) vec::Load(k[j], keys + j * kLanes);
#pragma GCC unroll 4
    for (int64_t m = 0; m < kCount; ++m) {
#pragma GCC unroll 4
      for (int64_t j = 0; j < kVectors; ++j) sums[m][j] += q[m * unit.q_stride + d] * k[j];
    }
  }
#pragma GCC unroll 4
  for (int64_t m = 0; m < kCount; ++m) {
#pragma GCC unroll 4
    for (int64_t j = 0; j < kVectors; ++j) {
      Floats score = sums[m][j] * unit.scale;
      if (unit.bias != nullptr) {
        Floats bias;
        vec::Load(bias, unit.bias - query - m + key + j * kLanes);
        score += bias;
      }
      vec::Store(unit.scores + m * unit.padded + key + j * kLanes, score);
    }
  }
}

// scores <- e^(scores - max), and 0 behind the last key; returns 1 / their sum.
TENON_INLINE float Soften(float* scores, int64_t keys, int64_t padded) {
  std::fill(scores + keys, scores + padded, -std::numeric_limits<float>::infinity());
  Floats top;
  vec::Load(top, scores);
  for (int64_t j = kLanes; j < padded; j += kLanes) {
    Floats s;
    vec::Load(s, scores + j);
    vec::Max(top, s);
  }
  float max = top[0];
  for (int64_t i = 1; i < kLanes; ++i) max = top[i] > max ? top[i] : max;
  Floats sum = {};
  for (int64_t j = 0; j < padded; j += kLanes) {
    Floats s;
    vec::Load(s, scores + j);
    s -= max;
    vec::Exp(s);
    sum += s;
    vec::Store(scores + j, s);
  }
  return 1 / vec::Sum(sum);
}

// out [kCount, 32 or 16 columns] = scores v, each line times its factor.
template <int64_t kCount, int64_t kVectors>
TENON_INLINE void MixBlock(const Unit& unit, const float* factors, int64_t column, float* out) {
  Floats sums[kCount][kVectors] = {};
  for (int64_t key = 0; key < unit.keys; ++key) {
    Floats v[kVectors];
#pragma GCC unroll 2
    for (int64_t j = 0; j < kVectors; ++j) vec::Load(v[j], unit.v + key * unit.v_stride + column + j * kLanes);
#pragma GCC unroll 4
    for (int64_t m = 0; m < kCount; ++m) {
#pragma GCC unroll 2
      for (int64_t j = 0; j < kVectors; ++j) sums[m][j] += unit.scores[m * unit.padded + key] * v[j];
    }
  }
#pragma GCC unroll 4
  for (int64_t m = 0; m < kCount; ++m) {
#pragma GCC unroll 2
    for (int64_t j = 0; j < kVectors; ++j) {
      vec::Store(out + m * unit.out_stride + column + j * kLanes, sums[m][j] * factors[m]);
    }
  }
}

// Queries `query` to `query` + kCount - 1 of the unit.
template <int64_t kCount>
TENON_INLINE void AttendQueries(const Unit& unit, int64_t query) {
  int64_t key = 0;
  for (; key + 4 * kLanes <= unit.padded; key += 4 * kLanes) ScoreBlock<kCount, 4>(unit, query, key);
  for (; key < unit.padded; key += kLanes) ScoreBlock<kCount, 1>(unit, query, key);
  float factors[kCount];
  for (int64_t m = 0; m < kCount; ++m) factors[m] = Soften(unit.scores + m * unit.padded, unit.keys, unit.padded);
  float* out = unit.out + query * unit.out_stride;
  int64_t column = 0;
  for (; column + 2 * kLanes <= unit.head_size; column += 2 * kLanes) MixBlock<kCount, 2>(unit, factors, column, out);
  for (; column < unit.head_size; column += kLanes) MixBlock<kCount, 1>(unit, factors, column, out);
}

// All of them.
TENON_INLINE void AttendAll(const Unit& unit) {
  int64_t query = 0;
  for (; query + kQueries <= unit.queries; query += kQueries) AttendQueries<kQueries>(unit, query);
  for (; query < unit.queries; ++query) AttendQueries<1>(unit, query);
}

}  // namespace tenon::engine::attend
