#include "worker/engine/train/batch_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace tenon::engine {
namespace {

formats::TrainOptions Options(int64_t batch, int64_t accumulation, double epochs) {
  formats::TrainOptions options;
  options.batch_size = batch;
  options.gradient_accumulation_steps = accumulation;
  options.epochs = epochs;
  options.seed = 7;
  return options;
}

std::vector<int64_t> Lengths(int64_t rows) {
  std::vector<int64_t> lengths(rows);
  for (int64_t i = 0; i < rows; ++i) lengths[i] = 3 + (i * 37) % 61;
  return lengths;
}

std::vector<std::vector<int64_t>> AllBatches(BatchPlan& plan) {
  std::vector<std::vector<int64_t>> batches;
  for (int64_t step = 1; step <= plan.total_steps(); ++step) {
    for (const MicroBatch& batch : plan.Step(step)) batches.push_back(batch);
  }
  return batches;
}

TEST(BatchPlanTest, EveryEpochSeesEveryRowOnce) {
  BatchPlan plan(Options(8, 3, 2), Lengths(101));
  EXPECT_EQ(plan.steps_per_epoch(), 5);  // 13 batches, three a step
  EXPECT_EQ(plan.total_steps(), 10);
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::multiset<int64_t> seen;
    for (int64_t step = 1; step <= 5; ++step) {
      const StepPlan micro = plan.Step(epoch * 5 + step);
      EXPECT_EQ(micro.size(), step == 5 ? 1u : 3u);
      for (const MicroBatch& batch : micro) seen.insert(batch.begin(), batch.end());
    }
    EXPECT_EQ(seen.size(), 101u);
    EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), 101u);
  }
}

TEST(BatchPlanTest, SameSeedSamePlanFromAnyStep) {
  BatchPlan one(Options(4, 1, 3), Lengths(50)), two(Options(4, 1, 3), Lengths(50));
  std::vector<StepPlan> forward;
  for (int64_t step = 1; step <= one.total_steps(); ++step) forward.push_back(one.Step(step));
  for (int64_t step = two.total_steps(); step >= 1; --step) EXPECT_EQ(two.Step(step), forward[step - 1]) << step;
}

TEST(BatchPlanTest, OtherSeedAndOtherEpochDiffer) {
  formats::TrainOptions options = Options(4, 1, 2);
  BatchPlan one(options, Lengths(50));
  EXPECT_NE(one.Step(1), one.Step(1 + one.steps_per_epoch()));
  BatchPlan same(options, Lengths(50));
  options.seed = 8;
  BatchPlan other(options, Lengths(50));
  EXPECT_EQ(AllBatches(one), AllBatches(same));
  EXPECT_NE(AllBatches(one), AllBatches(other));
}

TEST(BatchPlanTest, GroupingPutsLikeLengthsTogether) {
  const std::vector<int64_t> lengths = Lengths(2000);
  const auto spread = [&](bool group) {
    formats::TrainOptions options = Options(8, 1, 1);
    options.group_by_length = group;
    BatchPlan plan(options, lengths);
    int64_t padded = 0;
    for (const auto& batch : AllBatches(plan)) {
      int64_t longest = 0;
      for (const int64_t row : batch) longest = std::max(longest, lengths[row]);
      padded += longest * static_cast<int64_t>(batch.size());
    }
    return padded;
  };
  EXPECT_LT(static_cast<double>(spread(true)), 0.65 * static_cast<double>(spread(false)));
}

TEST(BatchPlanTest, WithoutShuffleRowsComeInOrder) {
  formats::TrainOptions options = Options(4, 2, 2);
  options.shuffle = false;
  BatchPlan plan(options, Lengths(10));
  EXPECT_EQ(plan.Step(1), (StepPlan{{0, 1, 2, 3}, {4, 5, 6, 7}}));
  EXPECT_EQ(plan.Step(2), (StepPlan{{8, 9}}));
  EXPECT_EQ(plan.Step(3), plan.Step(1));
}

TEST(BatchPlanTest, MicroBatchesAreCountedOverTheRun) {
  BatchPlan plan(Options(8, 3, 2), Lengths(101));
  int64_t before = 0;
  for (int64_t step = 1; step <= plan.total_steps(); ++step) {
    EXPECT_EQ(plan.MicroBatchesBefore(step), before) << step;
    before += static_cast<int64_t>(plan.Step(step).size());
  }
}

TEST(BatchPlanTest, StepCounts) {
  formats::TrainOptions options = Options(8, 1, 0.5);
  EXPECT_EQ(formats::TotalSteps(options, 100), 7);  // half of 13, rounded up
  options.max_steps = 500;
  EXPECT_EQ(formats::TotalSteps(options, 100), 500);
}

TEST(BatchesByTokensTest, CoversAllRowsWithinTheBudget) {
  std::vector<int64_t> lengths = Lengths(333);
  lengths[5] = 500;
  std::set<int64_t> seen;
  for (const MicroBatch& batch : BatchesByTokens(lengths, 256, 16)) {
    int64_t tokens = 0;
    for (const int64_t row : batch) {
      tokens += lengths[row];
      EXPECT_TRUE(seen.insert(row).second);
    }
    EXPECT_LE(batch.size(), 16u);
    EXPECT_TRUE(tokens <= 256 || batch.size() == 1);
  }
  EXPECT_EQ(seen.size(), 333u);
}

}  // namespace
}  // namespace tenon::engine
