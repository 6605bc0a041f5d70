#include "worker/engine/train/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace tenon::engine {
namespace {

TEST(RandomTest, KeysDifferInEveryPart) {
  std::set<uint64_t> keys;
  for (uint64_t seed : {0, 1}) {
    for (Stream stream : {Stream::kInit, Stream::kPlan, Stream::kDropout}) {
      keys.insert(StreamKey(seed, stream, {}));
      for (uint64_t i = 0; i < 20; ++i) {
        for (uint64_t j = 0; j < 20; ++j) keys.insert(StreamKey(seed, stream, {i, j}));
      }
    }
  }
  EXPECT_EQ(keys.size(), 2u * 3 * 401);
  EXPECT_EQ(StreamKey(5, Stream::kPlan, {3}), StreamKey(5, Stream::kPlan, {3}));
}

// Reference values of SplitMix64 from state 1234567, published with the algorithm.
TEST(RandomTest, SplitMix64) {
  CounterRandom random(1234567);
  EXPECT_EQ(random.Next(), 6457827717110365317u);
  EXPECT_EQ(random.Next(), 3203168211198807973u);
}

TEST(RandomTest, BelowIsEvenlySpread) {
  CounterRandom random(1);
  std::vector<int> counts(7);
  for (int i = 0; i < 70'000; ++i) ++counts[random.Below(7)];
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 500);
}

TEST(RandomTest, PermutationHoldsEveryNumber) {
  CounterRandom random(9);
  std::vector<int64_t> order = Permutation(1000, random);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  std::sort(order.begin(), order.end());
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(order[i], i);
}

}  // namespace
}  // namespace tenon::engine
