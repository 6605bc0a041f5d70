#include "worker/engine/adapter/low_rank.h"

#include <algorithm>

#include "worker/engine/model/vector_math.h"

namespace tenon::engine {
namespace {

using vec::Floats;
using vec::kLanes;

constexpr int64_t kLines = 4, kRanks = 4;  // 16 sums in registers

// to[m * kRanks + r] = x[m] . down[r]; every sum over the inputs in the same order, whatever kCount.
template <int64_t kCount>
TENON_INLINE void Down(const LowRankFactors& f, int64_t rank, int64_t ranks, const float* x, int64_t x_stride,
                       float* to) {
  const float* rows[kRanks];
  // Behind the last rank the last one again: its sums are thrown away.
  for (int64_t r = 0; r < kRanks; ++r) rows[r] = f.down + (rank + std::min(r, ranks - 1)) * f.in;
  Floats sums[kCount][kRanks] = {};
  for (int64_t i = 0; i < f.in; i += kLanes) {
    Floats a[kRanks];
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRanks; ++r) vec::Load(a[r], rows[r] + i);
#pragma GCC unroll 4
    for (int64_t m = 0; m < kCount; ++m) {
      Floats line;
      vec::Load(line, x + m * x_stride + i);
#pragma GCC unroll 4
      for (int64_t r = 0; r < kRanks; ++r) sums[m][r] += line * a[r];
    }
  }
#pragma GCC unroll 4
  for (int64_t m = 0; m < kCount; ++m) {
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRanks; ++r) to[m * kRanks + r] = vec::Sum(sums[m][r]);
  }
}

// y[m] += low[m] up, over `ranks` rows of it.
template <int64_t kCount>
TENON_INLINE void Up(const LowRankFactors& f, int64_t rank, int64_t ranks, const float* low, float* y,
                     int64_t y_stride) {
  for (int64_t o = 0; o < f.out; o += kLanes) {
    Floats sums[kCount];
#pragma GCC unroll 4
    for (int64_t m = 0; m < kCount; ++m) vec::Load(sums[m], y + m * y_stride + o);
    for (int64_t r = 0; r < ranks; ++r) {
      Floats b;
      vec::Load(b, f.up + (rank + r) * f.out + o);
#pragma GCC unroll 4
      for (int64_t m = 0; m < kCount; ++m) sums[m] += low[m * kRanks + r] * b;
    }
#pragma GCC unroll 4
    for (int64_t m = 0; m < kCount; ++m) vec::Store(y + m * y_stride + o, sums[m]);
  }
}

template <int64_t kCount>
TENON_INLINE void AddLines(const LowRankFactors& f, const float* x, int64_t x_stride, float* y, int64_t y_stride) {
  for (int64_t rank = 0; rank < f.rank; rank += kRanks) {
    const int64_t ranks = std::min(kRanks, f.rank - rank);
    float low[kLines * kRanks];
    Down<kCount>(f, rank, ranks, x, x_stride, low);
    Up<kCount>(f, rank, ranks, low, y, y_stride);
  }
}

}  // namespace

TENON_KERNEL void AddLowRank(const LowRankFactors& factors, const float* x, int64_t x_stride, int64_t lines, float* y,
                             int64_t y_stride) {
  int64_t t = 0;
  for (; t + kLines <= lines; t += kLines) {
    AddLines<kLines>(factors, x + t * x_stride, x_stride, y + t * y_stride, y_stride);
  }
  for (; t < lines; ++t) AddLines<1>(factors, x + t * x_stride, x_stride, y + t * y_stride, y_stride);
}

}  // namespace tenon::engine
