#include "worker/engine/evaluate/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tenon::engine {
namespace {

std::vector<double> Wave(size_t count) {
  std::vector<double> values;
  for (size_t i = 0; i < count; ++i) values.push_back(std::sin(static_cast<double>(i)));
  return values;
}

TEST(Bootstrap, TheNumberIsThePlainMean) {
  EXPECT_DOUBLE_EQ(BootstrapMean({1, 2, 6}, {}).mean, 3);
  const MeanInterval none = BootstrapMean({}, {});
  EXPECT_EQ(none.mean + none.low + none.high, 0);
}

TEST(Bootstrap, OneSeedIsOneInterval) {
  const MeanInterval a = BootstrapMean(Wave(50), {.seed = 7}), b = BootstrapMean(Wave(50), {.seed = 7});
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_NE(a.low, BootstrapMean(Wave(50), {.seed = 8}).low);
}

// For many rows the interval is that of the normal distribution: 1.96 standard errors each way.
TEST(Bootstrap, WidthIsThatOfTheStandardError) {
  const std::vector<double> values = Wave(4000);
  const MeanInterval interval = BootstrapMean(values, {.resamples = 4000});
  const double error = 1.96 * std::sqrt(0.5 / 4000);
  EXPECT_NEAR(interval.low, interval.mean - error, 0.1 * error);
  EXPECT_NEAR(interval.high, interval.mean + error, 0.1 * error);
  const MeanInterval narrow = BootstrapMean(values, {.resamples = 4000, .confidence = 0.5});
  EXPECT_LT(narrow.high - narrow.low, 0.4 * (interval.high - interval.low));
}

TEST(Bootstrap, ValuesThatAreAllTheSameAreSure) {
  const MeanInterval interval = BootstrapMean(std::vector<double>(20, 0.25), {});
  EXPECT_DOUBLE_EQ(interval.low, 0.25);
  EXPECT_DOUBLE_EQ(interval.high, 0.25);
}

}  // namespace
}  // namespace tenon::engine
