#include "worker/engine/evaluate/regression.h"

#include <gtest/gtest.h>

namespace tenon::engine {
namespace {

RegressionScores Scores(const std::vector<std::vector<float>>& truth,
                        const std::vector<std::vector<float>>& predicted) {
  RegressionEvaluator evaluator(static_cast<int64_t>(truth.front().size()));
  for (size_t i = 0; i < truth.size(); ++i) evaluator.Add(truth[i], predicted[i]);
  return evaluator.Finish();
}

// Expected numbers are scipy's.
TEST(RegressionTest, CorrelationsWithoutTies) {
  const RegressionScores scores = Scores({{1}, {2}, {3}, {4}}, {{1}, {4}, {9}, {8}});
  EXPECT_EQ(scores.rows, 4);
  EXPECT_DOUBLE_EQ(scores.mse, (0 + 4 + 36 + 16) / 4.0);
  EXPECT_NEAR(*scores.pearson, 0.9079593845004515, 1e-12);
  EXPECT_NEAR(*scores.spearman, 0.8, 1e-12);
}

TEST(RegressionTest, EqualValuesShareTheMeanOfTheirRanks) {
  EXPECT_NEAR(*Spearman({1, 2, 2, 3}, {1, 3, 2, 4}), 0.9486832980505138, 1e-12);
  EXPECT_NEAR(*Spearman({1, 1, 1, 2}, {5, 5, 5, 7}), 1, 1e-12);
  EXPECT_NEAR(*Spearman({1, 1, 2, 2}, {2, 2, 1, 1}), -1, 1e-12);
}

TEST(RegressionTest, MonotoneIsNotLinear) {
  EXPECT_DOUBLE_EQ(*Spearman({1, 2, 3}, {1, 10, 1000}), 1);
  EXPECT_LT(*Pearson({1, 2, 3}, {1, 10, 1000}), 0.9);
}

TEST(RegressionTest, ConstantsHaveNoCorrelation) {
  for (const auto& [truth, predicted] : {std::pair<float, float>{0, 1}, {1, 0}}) {
    const RegressionScores scores = Scores({{1}, {1 + truth}}, {{3}, {3 + predicted}});
    EXPECT_FALSE(scores.pearson.has_value());
    EXPECT_FALSE(scores.spearman.has_value());
    EXPECT_GT(scores.mse, 0);
  }
  EXPECT_FALSE(Scores({{1}}, {{2}}).pearson.has_value()) << "of one row";
}

TEST(RegressionTest, SeveralOutputsCountAlike) {
  const RegressionScores scores = Scores({{1, 3}, {2, 2}, {3, 1}}, {{2, 2}, {3, 1}, {5, 4}});
  EXPECT_DOUBLE_EQ(scores.mse, ((1 + 1 + 4) / 3.0 + (1 + 1 + 9) / 3.0) / 2);
  EXPECT_NEAR(*scores.pearson, (0.9819805060619657 + -0.6546536707079772) / 2, 1e-12);
  EXPECT_FALSE(Scores({{1, 5}, {2, 5}}, {{1, 1}, {2, 2}}).pearson.has_value()) << "one of them has none";
}

TEST(RegressionTest, LargeOffsetsLoseNothing) {
  EXPECT_NEAR(*Pearson({1e8 + 1, 1e8 + 2, 1e8 + 3}, {1, 2, 3}), 1, 1e-12);
}

}  // namespace
}  // namespace tenon::engine
