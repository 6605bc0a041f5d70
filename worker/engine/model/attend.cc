#include "worker/engine/model/attend.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "worker/engine/model/vector_math.h"

namespace tenon::engine {
namespace {

using vec::Floats;
using vec::kLanes;

constexpr int64_t kQueries = 4;  // in registers at a time
constexpr int64_t kMaxHeadSize = 128;

// One head of one span.
struct Unit {
  const float *q, *k, *v;
  int64_t q_stride, k_stride, v_stride;
  int64_t queries, keys, head_size;
  float scale;
  float* out;
  int64_t out_stride;
  float* keys_turned;  // [head_size, padded]: room for the keys, transposed
  float* scores;       // [kQueries, padded]
  int64_t padded;      // keys rounded up to whole vectors
};

// scores [kCount, padded] = scale q k^T.
template <int64_t kCount, int64_t kVectors>
TENON_INLINE void ScoreBlock(const Unit& unit, const float* q, int64_t key) {
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
      vec::Store(unit.scores + m * unit.padded + key + j * kLanes, sums[m][j] * unit.scale);
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

template <int64_t kCount>
TENON_INLINE void Queries(const Unit& unit, int64_t query) {
  const float* q = unit.q + query * unit.q_stride;
  int64_t key = 0;
  for (; key + 4 * kLanes <= unit.padded; key += 4 * kLanes) ScoreBlock<kCount, 4>(unit, q, key);
  for (; key < unit.padded; key += kLanes) ScoreBlock<kCount, 1>(unit, q, key);
  float factors[kCount];
  for (int64_t m = 0; m < kCount; ++m) factors[m] = Soften(unit.scores + m * unit.padded, unit.keys, unit.padded);
  float* out = unit.out + query * unit.out_stride;
  int64_t column = 0;
  for (; column + 2 * kLanes <= unit.head_size; column += 2 * kLanes) MixBlock<kCount, 2>(unit, factors, column, out);
  for (; column < unit.head_size; column += kLanes) MixBlock<kCount, 1>(unit, factors, column, out);
}

TENON_KERNEL void AttendUnit(const Unit& unit) {
  for (int64_t key = 0; key < unit.keys; ++key) {
    const float* from = unit.k + key * unit.k_stride;
    for (int64_t d = 0; d < unit.head_size; ++d) unit.keys_turned[d * unit.padded + key] = from[d];
  }
  for (int64_t d = 0; d < unit.head_size; ++d) {
    std::fill(unit.keys_turned + d * unit.padded + unit.keys, unit.keys_turned + (d + 1) * unit.padded, 0.0f);
  }
  int64_t query = 0;
  for (; query + kQueries <= unit.queries; query += kQueries) Queries<kQueries>(unit, query);
  for (; query < unit.queries; ++query) Queries<1>(unit, query);
}

}  // namespace

bool CanAttend(int64_t head_size) { return head_size % kLanes == 0 && head_size > 0 && head_size <= kMaxHeadSize; }

void Attend(const AttentionInput& input, absl::Span<const AttentionSpan> spans, int64_t first, int64_t last, float* out,
            int64_t out_stride) {
  int64_t longest = 0;
  for (const AttentionSpan& span : spans) longest = std::max(longest, span.keys);
  longest = (longest + kLanes - 1) / kLanes * kLanes;
  std::vector<float> keys_turned(static_cast<size_t>(input.head_size * longest));
  std::vector<float> scores(static_cast<size_t>(kQueries * longest));
  for (int64_t u = first; u < last; ++u) {
    const AttentionSpan& span = spans[static_cast<size_t>(u / input.heads)];
    const int64_t column = u % input.heads * input.head_size;
    AttendUnit({.q = input.q.data + span.first_query * input.q.stride + column,
                .k = input.k.data + span.first_key * input.k.stride + column,
                .v = input.v.data + span.first_key * input.v.stride + column,
                .q_stride = input.q.stride,
                .k_stride = input.k.stride,
                .v_stride = input.v.stride,
                .queries = span.queries,
                .keys = span.keys,
                .head_size = input.head_size,
                .scale = input.scale,
                .out = out + span.first_query * out_stride + column,
                .out_stride = out_stride,
                .keys_turned = keys_turned.data(),
                .scores = scores.data(),
                .padded = (span.keys + kLanes - 1) / kLanes * kLanes});
  }
}

}  // namespace tenon::engine
