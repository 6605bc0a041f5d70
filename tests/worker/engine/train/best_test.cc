#include "worker/engine/train/best.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tenon::engine {
namespace {

TEST(BestTest, HigherAccuracyWinsAndEqualDoesNot) {
  BestTracker best("accuracy", 0);
  EXPECT_TRUE(best.Add(10, {{"accuracy", 0.5}, {"loss", 1}}));
  EXPECT_FALSE(best.Add(20, {{"accuracy", 0.5}, {"loss", 0.5}}));
  EXPECT_TRUE(best.Add(30, {{"accuracy", 0.6}, {"loss", 2}}));
  EXPECT_EQ(best.best_step(), 30);
  EXPECT_DOUBLE_EQ(best.best_value(), 0.6);
  EXPECT_FALSE(best.ShouldStop());
}

TEST(BestTest, LowerLossWins) {
  BestTracker best("loss", 0);
  EXPECT_TRUE(best.Add(1, {{"loss", 1}}));
  EXPECT_TRUE(best.Add(2, {{"loss", 0.5}}));
  EXPECT_FALSE(best.Add(3, {{"loss", 0.7}}));
  EXPECT_EQ(best.best_step(), 2);
}

TEST(BestTest, AMetricThatIsUndefinedIsBelowEveryOther) {
  BestTracker best("pearson", 0);
  EXPECT_TRUE(best.Add(1, {{"loss", 1}}));
  EXPECT_FALSE(best.Add(2, {{"loss", 0.5}}));
  EXPECT_TRUE(best.Add(3, {{"loss", 2}, {"pearson", -0.5}}));
  EXPECT_FALSE(best.Add(4, {{"loss", 1}}));
  EXPECT_EQ(best.best_step(), 3);
  EXPECT_TRUE(std::isfinite(best.best_value())) << "checkpoints hold it";
}

TEST(BestTest, StopsAfterPatienceAndRestores) {
  BestTracker best("macro_f1", 2);
  best.Add(1, {{"macro_f1", 0.4}});
  best.Add(2, {{"macro_f1", 0.3}});
  EXPECT_FALSE(best.ShouldStop());
  BestTracker restored("macro_f1", 2);
  restored.Restore(best.best_step(), best.best_value(), best.worse());
  EXPECT_FALSE(restored.Add(3, {{"macro_f1", 0.4}}));
  EXPECT_TRUE(restored.ShouldStop());
  EXPECT_EQ(restored.best_step(), 1);
}

}  // namespace
}  // namespace tenon::engine
