#include "worker/engine/generate/candidates.h"

#include <ATen/ops/from_blob.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <tuple>

#include "worker/engine/generate/scores.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;

constexpr float kInf = std::numeric_limits<float>::infinity();

at::Tensor Rows(std::vector<float>& values, int64_t rows) {
  const int64_t columns = static_cast<int64_t>(values.size()) / rows;
  return at::from_blob(values.data(), {rows, columns}, at::TensorOptions().dtype(at::kFloat));
}

// All sums sorted: the definition.
std::vector<std::tuple<float, int64_t, int32_t>> Sorted(const std::vector<float>& values,
                                                        const std::vector<float>& totals) {
  const size_t vocab = values.size() / totals.size();
  std::vector<std::tuple<float, int64_t, int32_t>> all;
  for (size_t i = 0; i < values.size(); ++i) {
    const float score = values[i] + totals[i / vocab];
    if (score > -kInf) all.emplace_back(-score, static_cast<int64_t>(i / vocab), static_cast<int32_t>(i % vocab));
  }
  std::sort(all.begin(), all.end());
  return all;
}

TEST(BestCandidates, AreTheFirstOfAllSorted) {
  std::mt19937_64 random(3);
  for (const int64_t vocab : {5, 64, 200, 1000}) {
    for (int round = 0; round < 20; ++round) {
      std::vector<float> values, totals{-0.5f, -3, -1, -0.7f};
      // Few distinct values, so that equals are met with; some are impossible.
      for (int64_t i = 0; i < 4 * vocab; ++i) {
        const auto draw = random() % (round % 2 == 0 ? 30 : 100000);
        values.push_back(draw < 3 ? -kInf : -static_cast<float>(draw) / 8);
      }
      const auto best = BestCandidates(Rows(values, 4), totals, 8);
      const auto all = Sorted(values, totals);
      ASSERT_EQ(best.size(), std::min<size_t>(8, all.size()));
      for (size_t i = 0; i < best.size(); ++i) {
        EXPECT_EQ(std::make_tuple(-best[i].score, best[i].line, best[i].token), all[i]) << vocab << " " << round;
        EXPECT_EQ(best[i].log_prob, values[best[i].line * vocab + best[i].token]);
      }
    }
  }
}

TEST(BestCandidates, LeaveOutTheImpossible) {
  std::vector<float> values{-1, -kInf, -kInf, -2};
  for (const auto& best : {BestCandidates(Rows(values, 1), {0}, 4), BestCandidatesByTopK(Rows(values, 1), {0}, 4)}) {
    ASSERT_EQ(best.size(), 2u);
    EXPECT_EQ(best[1].token, 3);
  }
}

TEST(BestCandidates, AreTheDevicesOwnWhereNoneAreEqual) {
  std::mt19937_64 random(4);
  std::normal_distribution<float> normal(-5, 2);
  std::vector<float> values, totals{-0.5f, -3, -1};
  for (int i = 0; i < 3 * 500; ++i) values.push_back(normal(random));
  const auto scanned = BestCandidates(Rows(values, 3), totals, 10),
             sorted = BestCandidatesByTopK(Rows(values, 3), totals, 10);
  ASSERT_EQ(scanned.size(), sorted.size());
  for (size_t i = 0; i < scanned.size(); ++i) {
    EXPECT_EQ(scanned[i].score, sorted[i].score);
    EXPECT_EQ(scanned[i].log_prob, sorted[i].log_prob);
    EXPECT_EQ(scanned[i].line, sorted[i].line);
    EXPECT_EQ(scanned[i].token, sorted[i].token);
  }
}

TEST(BestTokens, TakesTheFirstOfEqualsAndLogProbsWhereAsked) {
  std::vector<float> values{0, 1, 1, -kInf, -kInf, -kInf, 2, 2, 2};
  const bool wanted[] = {true, false, false};
  const auto best = BestTokens(Rows(values, 3), wanted);
  EXPECT_EQ(best[0].token, 1);
  EXPECT_NEAR(best[0].log_prob, std::log(std::exp(1) / (1 + 2 * std::exp(1))), 1e-6);
  EXPECT_EQ(best[1].token, -1);
  EXPECT_EQ(best[2].token, 0);
  EXPECT_EQ(best[2].log_prob, 0);
}

TEST(ScoreEdits, ChangeWhatTheConstraintsSay) {
  std::vector<float> values{1, -1, 2, 3, 1, -1, 2, 3, 1, -1, 2, 3};
  at::Tensor scores = Rows(values, 3);
  ScoreEdits edits(4);
  Constraints repeated, forced;
  repeated.repeated = {0, 1, 900};  // a start token that the head does not know
  repeated.banned = {2, 2};
  forced.banned = {1};
  forced.forced = {1, 3};
  forced.suppressed = {3};
  edits.Add(0, repeated, 2);
  edits.Add(2, forced, 1);
  edits.Apply(scores);
  EXPECT_THAT(values, ElementsAre(0.5f, -2, -kInf, 3, 1, -1, 2, 3, -kInf, 0, -kInf, -kInf));
}

}  // namespace
}  // namespace tenon::engine
