#include "worker/engine/generate/sampling.h"

#include <ATen/ops/from_blob.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;

constexpr float kInf = std::numeric_limits<float>::infinity();

at::Tensor Scores(const std::vector<float>& values, int64_t rows = 1) {
  const int64_t columns = static_cast<int64_t>(values.size()) / rows;
  return at::from_blob(const_cast<float*>(values.data()), {rows, columns}, at::TensorOptions().dtype(at::kFloat))
      .clone();
}

// Logarithms of chances, so that what is kept can be told by hand.
std::vector<float> Log(std::vector<float> chances) {
  for (float& chance : chances) chance = std::log(chance);
  return chances;
}

GenerationPlan Plan() {
  GenerationPlan plan;
  plan.mode = SearchMode::kSample;
  return plan;
}

// Tokens that a thousand evenly spread numbers draw.
std::set<int32_t> Kept(const GenerationPlan& plan, const std::vector<float>& scores) {
  SampleRow row{&plan, {}};
  for (int i = 0; i < 1000; ++i) row.uniforms.push_back(i / 1000.0);
  std::set<int32_t> tokens;
  const auto draws = Sample(Scores(scores), {row});
  for (const Choice& draw : draws.front()) tokens.insert(draw.token);
  return tokens;
}

TEST(Sampling, InvertsTheDistribution) {
  const GenerationPlan plan = Plan();
  const auto scores = Log({0.1f, 0.2f, 0.3f, 0.4f});
  std::vector<int32_t> tokens;
  const SampleRow row{&plan, {0, 0.05, 0.15, 0.35, 0.59, 0.61, std::nextafter(1.0, 0.0)}};
  const auto draws = Sample(Scores(scores), {row});
  for (const Choice& draw : draws.front()) {
    tokens.push_back(draw.token);
    EXPECT_NEAR(draw.log_prob, scores[draw.token], 1e-6);
  }
  EXPECT_THAT(tokens, ElementsAre(0, 0, 1, 2, 2, 3, 3));
}

TEST(Sampling, NeverDrawsTheImpossible) {
  const GenerationPlan plan = Plan();
  EXPECT_THAT(Kept(plan, {-kInf, 0, -kInf, 0, -kInf}), ElementsAre(1, 3));
  EXPECT_THAT(Kept(plan, {-kInf, -kInf}), ElementsAre(-1));
}

TEST(Sampling, TopKKeepsTheBestAndTheirEquals) {
  GenerationPlan plan = Plan();
  plan.top_k = 2;
  EXPECT_THAT(Kept(plan, {1, 3, 2, 0}), ElementsAre(1, 2));
  EXPECT_THAT(Kept(plan, {2, 3, 2, 2, 0}), ElementsAre(0, 1, 2, 3));
  plan.top_k = 9;
  EXPECT_THAT(Kept(plan, {1, 3, 2}), ElementsAre(0, 1, 2));
}

TEST(Sampling, TopPKeepsTheSmallestSetThatReachesTheMass) {
  GenerationPlan plan = Plan();
  const auto scores = Log({0.05f, 0.5f, 0.15f, 0.3f});
  plan.top_p = 0.45;
  EXPECT_THAT(Kept(plan, scores), ElementsAre(1));
  plan.top_p = 0.6;
  EXPECT_THAT(Kept(plan, scores), ElementsAre(1, 3));
  plan.top_p = 0.9;
  EXPECT_THAT(Kept(plan, scores), ElementsAre(1, 2, 3));
  plan.top_p = 0;
  EXPECT_THAT(Kept(plan, scores), ElementsAre(1));
  plan.top_p = 0.6;
  plan.top_k = 3;  // of what top-k left: .5 of .95 is .526
  EXPECT_THAT(Kept(plan, scores), ElementsAre(1, 3));
}

TEST(Sampling, TypicalKeepsWhatIsAsSurprisingAsTheWhole) {
  GenerationPlan plan = Plan();
  // Entropy 1.19; informations 0.80, 1.20, 1.61, 3.00: the second is nearest, then the first, then the third.
  const auto scores = Log({0.45f, 0.30f, 0.20f, 0.05f});
  plan.typical_p = 0.2;
  EXPECT_THAT(Kept(plan, scores), ElementsAre(1));
  plan.typical_p = 0.45;
  EXPECT_THAT(Kept(plan, scores), ElementsAre(0, 1));
  plan.typical_p = 0.9;
  EXPECT_THAT(Kept(plan, scores), ElementsAre(0, 1, 2));
}

TEST(Sampling, TemperatureFlattensAndSharpens) {
  GenerationPlan plan = Plan();
  const auto scores = Log({0.2f, 0.8f});
  plan.temperature = 0.5;  // chances are squared: 1 to 16
  EXPECT_NEAR(Sample(Scores(scores), {{&plan, {0.5}}}).front().front().log_prob, std::log(16.0 / 17), 1e-6);
}

TEST(Sampling, ARowsDrawsAreItsOwnToTheLastBit) {
  std::mt19937_64 random(5);
  std::normal_distribution<float> normal(0, 2);
  constexpr int64_t kRows = 24, kVocab = 333;
  std::vector<GenerationPlan> plans(kRows, Plan());
  std::vector<SampleRow> rows;
  std::vector<float> scores;
  for (int64_t r = 0; r < kRows; ++r) {
    GenerationPlan& plan = plans[r];
    plan.top_k = r % 4 == 0 ? 0 : 7 * (r % 3) + 5;
    plan.top_p = r % 2 == 0 ? 1 : 0.8;
    plan.typical_p = r % 5 == 0 ? 0.7 : 1;
    plan.temperature = r % 3 == 0 ? 1 : 0.7;
    rows.push_back({&plan, {0.1, 0.4, 0.5, 0.9}});
    for (int64_t i = 0; i < kVocab; ++i) scores.push_back(std::round(normal(random) * 4) / 4);  // equals are common
  }
  const auto together = Sample(Scores(scores, kRows), rows);
  for (int64_t r = 0; r < kRows; ++r) {
    const std::vector<float> own(scores.begin() + r * kVocab, scores.begin() + (r + 1) * kVocab);
    const auto alone = Sample(Scores(own), {rows[r]}).front();
    for (size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(alone[i].token, together[r][i].token) << r;
      EXPECT_EQ(alone[i].log_prob, together[r][i].log_prob) << r;
    }
  }
}

}  // namespace
}  // namespace tenon::engine
