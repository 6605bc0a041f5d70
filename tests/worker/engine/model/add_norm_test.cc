#include "worker/engine/model/add_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tenon::engine {
namespace {

constexpr int64_t kSize = 48;

// Lines far from zero, where a variance by difference of squares has no digits left.
std::vector<float> Lines(int64_t lines, float shift) {
  std::vector<float> x(static_cast<size_t>(lines * kSize));
  for (size_t i = 0; i < x.size(); ++i) x[i] = shift + std::sin(static_cast<float>(i * i % 97));
  return x;
}

void Compare(const std::vector<float>& before, const std::vector<float>* residual, double tolerance) {
  std::vector<float> x = before, weight(kSize), bias(kSize);
  for (int64_t i = 0; i < kSize; ++i) weight[i] = 0.5f + 0.01f * static_cast<float>(i), bias[i] = 0.1f;
  const int64_t lines = static_cast<int64_t>(x.size()) / kSize;
  AddNorm(x.data(), residual == nullptr ? nullptr : residual->data(), weight.data(), bias.data(), 1e-5f, lines, kSize);
  for (int64_t line = 0; line < lines; ++line) {
    std::vector<double> sum(kSize);
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < kSize; ++i) {
      const size_t place = static_cast<size_t>(line * kSize + i);
      sum[i] = static_cast<double>(before[place]) + (residual == nullptr ? 0 : (*residual)[place]);
      mean += sum[i] / kSize;
    }
    for (const double value : sum) variance += (value - mean) * (value - mean) / kSize;
    for (int64_t i = 0; i < kSize; ++i) {
      const double expected = (sum[i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i];
      EXPECT_NEAR(x[static_cast<size_t>(line * kSize + i)], expected, tolerance);
    }
  }
}

TEST(AddNorm, NormalisesEachLine) { Compare(Lines(3, 0), nullptr, 1e-5); }

TEST(AddNorm, AddsTheResidualFirst) {
  const std::vector<float> residual = Lines(3, 2);
  Compare(Lines(3, -1), &residual, 1e-5);
}

TEST(AddNorm, KeepsItsDigitsFarFromZero) { Compare(Lines(2, 1000), nullptr, 2e-3); }

// Zero times what is left of a line would be its bias, which looks like a result.
TEST(AddNorm, AnOverflowIsNotANumberAndNoNeighboursAffair) {
  for (const float wrong : {1e30f, -1e30f, INFINITY, NAN}) {
    std::vector<float> x = Lines(3, 0);
    const std::vector<float> ones(kSize, 1), zeros(kSize, 0);
    x[kSize + 5] = wrong;
    AddNorm(x.data(), nullptr, ones.data(), zeros.data(), 1e-5f, 3, kSize);
    for (int64_t i = 0; i < 3 * kSize; ++i) {
      EXPECT_EQ(std::isnan(x[static_cast<size_t>(i)]), i / kSize == 1) << wrong << " at " << i;
    }
  }
}

}  // namespace
}  // namespace tenon::engine
