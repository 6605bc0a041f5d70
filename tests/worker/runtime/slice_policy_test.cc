#include "worker/runtime/slice_policy.h"

#include <gtest/gtest.h>

#include "common/clock.h"

namespace tenon::runtime {
namespace {

using Kind = SlicePolicy::Kind;

constexpr absl::Duration kInferenceSlice = absl::Milliseconds(20);
constexpr absl::Duration kTrainSlice = absl::Milliseconds(5);

// Runs slices for `span` of a clock that is turned by hand; answers with the time that job 1 got.
absl::Duration Simulate(SlicePolicy& policy, absl::Duration span, bool inference) {
  ManualClock clock;
  const absl::Time end = clock.Now() + span;
  absl::Duration trained;
  while (clock.Now() < end) {
    const auto choice = policy.Next(inference, {1});
    const absl::Duration took = choice.kind == Kind::kInference ? kInferenceSlice : kTrainSlice;
    clock.Advance(took);
    policy.Account(choice, took, inference);
    if (choice.kind == Kind::kBackground) trained += took;
  }
  return trained;
}

TEST(SlicePolicy, NothingReadyIsNothing) { EXPECT_EQ(SlicePolicy(0.1).Next(false, {}).kind, Kind::kNone); }

TEST(SlicePolicy, InferenceGoesFirst) {
  SlicePolicy policy(0.1);
  policy.AddJob(1);
  EXPECT_EQ(policy.Next(true, {1}).kind, Kind::kInference);
  EXPECT_EQ(policy.Next(false, {1}).kind, Kind::kBackground);
  EXPECT_EQ(policy.Next(true, {}).kind, Kind::kInference);
}

TEST(SlicePolicy, TrainingGetsItsFloorUnderFullLoadAndNotMuchMore) {
  for (const double floor : {0.05, 0.1, 0.3}) {
    SlicePolicy policy(floor);
    policy.AddJob(1);
    const double share = absl::FDivDuration(Simulate(policy, absl::Seconds(60), true), absl::Seconds(60));
    EXPECT_GE(share, floor - 0.005);
    EXPECT_LE(share, floor + 0.01);
  }
}

TEST(SlicePolicy, WithoutAFloorTrainingWaitsForIdleTime) {
  SlicePolicy policy(0);
  policy.AddJob(1);
  EXPECT_EQ(Simulate(policy, absl::Seconds(10), true), absl::ZeroDuration());
  EXPECT_GE(Simulate(policy, absl::Seconds(10), false), absl::Seconds(10));
}

TEST(SlicePolicy, IdleTimeUsedByTrainingIsNotHeldAgainstIt) {
  SlicePolicy policy(0.1);
  policy.AddJob(1);
  Simulate(policy, absl::Seconds(600), false);
  EXPECT_GE(Simulate(policy, absl::Seconds(10), true), absl::Milliseconds(950));
}

TEST(SlicePolicy, ADebtIsBounded) {
  SlicePolicy policy(0.5, absl::Milliseconds(100));
  policy.AddJob(1);
  policy.Account({Kind::kInference, 0}, absl::Hours(1), true);
  EXPECT_EQ(policy.debt(), absl::Milliseconds(100));
  policy.Account({Kind::kBackground, 1}, absl::Hours(1), true);
  EXPECT_EQ(policy.debt(), absl::Milliseconds(-100));
}

TEST(SlicePolicy, JobsShareEquallyByTimeNotByTurns) {
  SlicePolicy policy(0.1);
  policy.AddJob(1);
  policy.AddJob(2);
  std::map<uint64_t, absl::Duration> used;
  for (int i = 0; i < 3000; ++i) {
    const auto choice = policy.Next(false, {1, 2});
    const absl::Duration took = absl::Milliseconds(choice.job == 1 ? 1 : 7);
    policy.Account(choice, took, false);
    used[choice.job] += took;
  }
  EXPECT_NEAR(absl::FDivDuration(used[1], used[2]), 1.0, 0.02);
}

TEST(SlicePolicy, ANewJobStartsLevelWithTheOthers) {
  SlicePolicy policy(0.1);
  policy.AddJob(1);
  for (int i = 0; i < 1000; ++i) policy.Account(policy.Next(false, {1}), absl::Milliseconds(1), false);
  policy.AddJob(2);
  int second = 0;
  for (int i = 0; i < 100; ++i) {
    const auto choice = policy.Next(false, {1, 2});
    policy.Account(choice, absl::Milliseconds(1), false);
    second += choice.job == 2;
  }
  EXPECT_NEAR(second, 50, 2);
}

}  // namespace
}  // namespace tenon::runtime
