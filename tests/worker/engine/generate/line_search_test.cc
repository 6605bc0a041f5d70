#include "worker/engine/generate/line_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

GenerationPlan Plan(int64_t sequences, int64_t new_tokens = 4) {
  GenerationPlan plan;
  plan.mode = SearchMode::kSample;
  plan.num_return_sequences = sequences;
  plan.max_length = new_tokens + 1;
  plan.eos_token_ids = {1};
  return plan;
}

std::vector<std::vector<Choice>> Tokens(const std::vector<std::vector<int32_t>>& tokens) {
  std::vector<std::vector<Choice>> choices;
  for (const auto& line : tokens) {
    choices.emplace_back();
    for (const int32_t token : line) choices.back().push_back({token, -0.5f});
  }
  return choices;
}

TEST(LineSearch, OneLineBecomesManyAndTheyLeaveOneByOne) {
  const GenerationPlan plan = Plan(3);
  LineSearch search(plan, {2}, nullptr);
  EXPECT_EQ(search.lines(), 1);
  search.Advance(Tokens({{5, 1, 6}}));
  EXPECT_THAT(search.parents(), ElementsAre(0, 0));
  EXPECT_THAT(search.tokens(1), ElementsAre(2, 6));
  search.Advance(Tokens({{7}, {8}}));
  EXPECT_THAT(search.parents(), ElementsAre(0, 1));
  search.Advance(Tokens({{1}, {9}}));
  EXPECT_THAT(search.parents(), ElementsAre(1));
  ASSERT_EQ(search.deltas().size(), 2u);
  EXPECT_EQ(search.deltas()[1].sequence, 2);
  search.Advance(Tokens({{5}}));
  EXPECT_TRUE(search.done());
  const auto written = search.Take();
  EXPECT_THAT(written[0].tokens, ElementsAre(5, 7, 1));
  EXPECT_THAT(written[1].tokens, ElementsAre(1));
  EXPECT_THAT(written[2].tokens, ElementsAre(6, 8, 9, 5));
  EXPECT_EQ(written[0].reason, FinishReason::kEos);
  EXPECT_EQ(written[2].reason, FinishReason::kLength);
  EXPECT_THAT(written[0].log_probs, IsEmpty());
}

TEST(LineSearch, GivesScoresOnRequest) {
  GenerationPlan plan = Plan(1);
  plan.return_scores = true;
  LineSearch search(plan, {2}, nullptr);
  search.Advance(Tokens({{5}}));
  search.Advance(Tokens({{1}}));
  const auto written = search.Take();
  EXPECT_THAT(written[0].log_probs, ElementsAre(-0.5f, -0.5f));
  EXPECT_EQ(written[0].score, -1.0f);
}

TEST(LineSearch, AnImpossibleTokenEndsTheSequence) {
  const GenerationPlan plan = Plan(1);
  LineSearch search(plan, {2}, nullptr);
  search.Advance(Tokens({{-1}}));
  EXPECT_TRUE(search.done());
  const auto written = search.Take();
  EXPECT_THAT(written[0].tokens, IsEmpty());
  EXPECT_EQ(written[0].reason, FinishReason::kExhausted);
}

TEST(LineSearch, DrawsAreTheSequencesOwn) {
  GenerationPlan plan = Plan(3);
  LineSearch search(plan, {2}, nullptr), alone(plan, {2}, nullptr);
  EXPECT_EQ(search.Uniforms(0), alone.Uniforms(0));
  ASSERT_EQ(search.Uniforms(0).size(), 3u);
  search.Advance(Tokens({{5, 6, 7}}));
  alone.Advance(Tokens({{1, 6, 1}}));  // the second sequence is left alone
  EXPECT_EQ(search.Uniforms(1), alone.Uniforms(0));
  std::set<double> different;
  for (int64_t i = 0; i < 3; ++i) different.insert(search.Uniforms(i).front());
  for (const double first : LineSearch(plan, {2}, nullptr).Uniforms(0)) different.insert(first);
  EXPECT_EQ(different.size(), 6u);
  plan.seed = 1;
  EXPECT_NE(LineSearch(plan, {2}, nullptr).Uniforms(0), alone.Uniforms(0));
}

TEST(LineSearch, DrawsAreUniform) {
  double sum = 0, squares = 0;
  constexpr int64_t kDraws = 100000;
  const GenerationPlan plan = Plan(kDraws);
  for (const double draw : LineSearch(plan, {2}, nullptr).Uniforms(0)) {
    ASSERT_GE(draw, 0);
    ASSERT_LT(draw, 1);
    sum += draw;
    squares += draw * draw;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 4 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 4 * std::sqrt(4.0 / 45 / kDraws));
}

TEST(LineSearch, StopsAtAStopStringAndStreamsUpToIt) {
  GenerationPlan plan = Plan(1, 10);
  plan.stop_strings = {"cd"};
  const auto letters = [](absl::Span<const int32_t> tokens) {
    std::string text;
    for (const int32_t token : tokens) text.push_back(static_cast<char>('a' + token - 10));
    return text;
  };
  LineSearch search(plan, {2}, letters);
  std::string streamed;
  for (const int32_t token : {10, 12, 11, 12, 13}) {
    ASSERT_FALSE(search.done());
    search.Advance(Tokens({{token}}));
    streamed += search.deltas()[0].text;
  }
  EXPECT_TRUE(search.done());
  EXPECT_EQ(streamed, "acb");
  const auto written = search.Take();
  EXPECT_EQ(written[0].text, "acb");
  EXPECT_EQ(written[0].reason, FinishReason::kStopString);
  EXPECT_EQ(written[0].tokens.size(), 5u);
}

}  // namespace
}  // namespace tenon::engine
