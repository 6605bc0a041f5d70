#include "worker/engine/model/attend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace tenon::engine {
namespace {

std::vector<float> Random(size_t count, uint32_t seed, float spread = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// The definition, in double.
double Expected(const AttentionInput& in, const AttentionSpan& span, int64_t query, int64_t column) {
  const int64_t head = column / in.head_size * in.head_size;
  std::vector<double> scores;
  double top = -1e300, sum = 0, mixed = 0;
  for (int64_t key = 0; key < span.keys; ++key) {
    double dot = 0;
    for (int64_t d = 0; d < in.head_size; ++d) {
      dot += static_cast<double>(in.q.data[(span.first_query + query) * in.q.stride + head + d]) *
             in.k.data[(span.first_key + key) * in.k.stride + head + d];
    }
    const float* bias = in.bias.At(column / in.head_size);
    scores.push_back(dot * in.scale + (bias == nullptr ? 0.0 : bias[key - query]));
    top = std::max(top, scores.back());
  }
  for (int64_t key = 0; key < span.keys; ++key) {
    const double weight = std::exp(scores[static_cast<size_t>(key)] - top);
    sum += weight;
    mixed += weight * in.v.data[(span.first_key + key) * in.v.stride + column];
  }
  return mixed / sum;
}

// Rows of these lengths in one fused [T, 3 * hidden] product, as an encoder makes it.
void Compare(const std::vector<int64_t>& lengths, int64_t heads, int64_t head_size, float spread, double tolerance,
             const DistanceBias& bias = {}) {
  const int64_t hidden = heads * head_size;
  std::vector<AttentionSpan> spans;
  int64_t tokens = 0;
  for (const int64_t length : lengths) {
    spans.push_back({tokens, length, tokens, length});
    tokens += length;
  }
  const std::vector<float> qkv = Random(static_cast<size_t>(tokens * 3 * hidden), 7, spread);
  const AttentionInput in{{qkv.data(), 3 * hidden},
                          {qkv.data() + hidden, 3 * hidden},
                          {qkv.data() + 2 * hidden, 3 * hidden},
                          heads,
                          head_size,
                          1 / std::sqrt(static_cast<float>(head_size)),
                          bias};
  std::vector<float> out(static_cast<size_t>(tokens * hidden), NAN);
  Attend(in, spans, 0, static_cast<int64_t>(spans.size()) * heads, out.data(), hidden);
  double worst = 0;
  for (const AttentionSpan& span : spans) {
    for (int64_t query = 0; query < span.queries; ++query) {
      for (int64_t column = 0; column < hidden; ++column) {
        const double got = out[static_cast<size_t>((span.first_query + query) * hidden + column)];
        worst = std::max(worst, std::abs(got - Expected(in, span, query, column)));
        ASSERT_FALSE(std::isnan(got)) << "query " << query << " column " << column;
      }
    }
  }
  EXPECT_LT(worst, tolerance);
}

TEST(Attend, EqualsTheDefinitionForEveryLength) {
  std::vector<int64_t> lengths;
  for (int64_t length = 1; length <= 70; ++length) lengths.push_back(length);
  Compare(lengths, 2, 32, 1, 1e-5);
}

TEST(Attend, KnowsTheUsualSizesOfHeads) {
  for (const int64_t head_size : {16, 32, 48, 64, 128}) {
    EXPECT_TRUE(CanAttend(head_size));
    Compare({5, 33, 64}, 3, head_size, 1, 1e-5);
  }
  for (const int64_t head_size : {0, 8, 20, 144}) EXPECT_FALSE(CanAttend(head_size));
}

// Scores beyond 88 overflow an exponential that does not take the greatest away first.
TEST(Attend, SurvivesLargeScores) { Compare({40}, 1, 32, 6, 1e-3); }

TEST(Attend, LongRows) { Compare({512}, 1, 64, 1, 1e-5); }

// A key that is not a number leaves no query of its row a result, wherever in a vector it lies; another row has one.
TEST(Attend, WhatIsNotANumberStaysSo) {
  for (const int64_t wrong : {0, 5, 16, 36}) {
    for (const float value : {NAN, INFINITY}) {
      std::vector<float> q = Random(60 * 32, 1), k = Random(60 * 32, 2), v = Random(60 * 32, 3);
      for (float& x : q) x = std::abs(x) + 0.1f;
      k[static_cast<size_t>(wrong * 32 + 7)] = value;
      const AttentionInput in{{q.data(), 32}, {k.data(), 32}, {v.data(), 32}, 1, 32, 0.2f};
      const std::vector<AttentionSpan> spans = {{0, 37, 0, 37}, {37, 23, 37, 23}};
      std::vector<float> out(60 * 32);
      Attend(in, spans, 0, 2, out.data(), 32);
      for (int64_t i = 0; i < 60 * 32; ++i) {
        ASSERT_EQ(std::isnan(out[static_cast<size_t>(i)]), i / 32 < 37) << value << " in key " << wrong;
      }
    }
  }
}

TEST(Attend, AddsABiasByDistance) {
  constexpr int64_t kReach = 79, kStride = 2 * kReach + 1 + 15;
  const std::vector<float> table = Random(3 * kStride, 5, 2);
  std::vector<int64_t> lengths = {80};
  for (int64_t length = 1; length <= 40; ++length) lengths.push_back(length);
  Compare(lengths, 3, 16, 1, 1e-5, {table.data() + kReach, kStride});
}

TEST(Attend, OneQueryOfARowAndUnitsByHalves) {
  const std::vector<float> q = Random(2 * 64, 1), k = Random(60 * 64, 2), v = Random(60 * 64, 3);
  const AttentionInput in{{q.data(), 64}, {k.data(), 64}, {v.data(), 64}, 2, 32, 0.2f};
  const std::vector<AttentionSpan> spans = {{0, 1, 0, 37}, {1, 1, 37, 23}};
  std::vector<float> out(2 * 64);
  Attend(in, spans, 0, 3, out.data(), 64);
  EXPECT_EQ(out[127], 0) << "unit 3 was not asked for";
  Attend(in, spans, 3, 4, out.data(), 64);
  for (int64_t column = 0; column < 64; ++column) {
    EXPECT_NEAR(out[column], Expected(in, spans[0], 0, column), 1e-5);
    EXPECT_NEAR(out[64 + column], Expected(in, spans[1], 0, column), 1e-5);
  }
}

}  // namespace
}  // namespace tenon::engine
