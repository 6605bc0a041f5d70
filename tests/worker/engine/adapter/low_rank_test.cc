#include "worker/engine/adapter/low_rank.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tenon::engine {
namespace {

float Wave(int64_t i) { return std::sin(static_cast<float>(i * 37 % 101)); }

std::vector<float> Waves(int64_t count, int64_t phase) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = Wave(i + phase);
  return values;
}

TEST(AddLowRank, EqualsTheDefinitionForAnyRankAndNumberOfLines) {
  constexpr int64_t kIn = 48, kOut = 32, kXStride = 50, kYStride = 96;
  for (const int64_t rank : {1, 3, 4, 8, 9}) {
    const std::vector<float> down = Waves(rank * kIn, 1), up = Waves(rank * kOut, 2);
    for (const int64_t lines : {1, 3, 4, 7}) {
      const std::vector<float> x = Waves(lines * kXStride, 3), before = Waves(lines * kYStride, 4);
      std::vector<float> y = before;
      AddLowRank({down.data(), up.data(), rank, kIn, kOut}, x.data(), kXStride, lines, y.data(), kYStride);
      for (int64_t t = 0; t < lines; ++t) {
        for (int64_t o = 0; o < kYStride; ++o) {
          double expected = before[t * kYStride + o];
          for (int64_t r = 0; r < rank && o < kOut; ++r) {
            double low = 0;
            for (int64_t i = 0; i < kIn; ++i) low += static_cast<double>(x[t * kXStride + i]) * down[r * kIn + i];
            expected += low * up[r * kOut + o];
          }
          ASSERT_NEAR(y[t * kYStride + o], expected, 1e-4) << "rank " << rank << ", line " << t << ", output " << o;
        }
      }
    }
  }
}

TEST(AddLowRank, ALineDoesNotDependOnItsNeighbours) {
  const std::vector<float> down = Waves(8 * 64, 1), up = Waves(8 * 64, 2), x = Waves(6 * 64, 3);
  const LowRankFactors factors{down.data(), up.data(), 8, 64, 64};
  std::vector<float> together(6 * 64), alone(6 * 64);
  AddLowRank(factors, x.data(), 64, 6, together.data(), 64);
  for (int64_t t = 0; t < 6; ++t) AddLowRank(factors, x.data() + t * 64, 64, 1, alone.data() + t * 64, 64);
  EXPECT_EQ(together, alone);
}

}  // namespace
}  // namespace tenon::engine
