#include "worker/engine/generate/beam_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "worker/engine/train/random.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;

constexpr int32_t kEos = 0, kVocab = 3;

// log P(token | tokens), normalised: any function of the history will do.
std::vector<float> LogProbs(absl::Span<const int32_t> tokens) {
  std::vector<uint64_t> history(tokens.begin(), tokens.end());
  CounterRandom random(StreamKey(7, Stream::kSampling, history));
  std::vector<float> logits;
  double sum = 0;
  for (int32_t i = 0; i < kVocab; ++i) {
    logits.push_back(static_cast<float>(random.Below(4000)) / 1000);
    sum += std::exp(logits.back());
  }
  for (float& logit : logits) logit -= static_cast<float>(std::log(sum));
  return logits;
}

std::vector<BeamCandidate> Candidates(const BeamSearch& search) {
  std::vector<BeamCandidate> all;
  for (int64_t line = 0; line < search.lines(); ++line) {
    const std::vector<float> log_probs = LogProbs(search.tokens(line));
    for (int32_t token = 0; token < kVocab; ++token) {
      all.push_back({search.score(line) + log_probs[token], log_probs[token], line, token});
    }
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  if (static_cast<int64_t>(all.size()) > search.width()) all.resize(search.width());
  return all;
}

std::vector<GeneratedSequence> SearchAll(const GenerationPlan& plan) {
  BeamSearch search(plan, {9}, nullptr);
  while (!search.done()) search.Advance(Candidates(search));
  return search.Take();
}

GenerationPlan Plan(int64_t beams, int64_t new_tokens, double length_penalty) {
  GenerationPlan plan;
  plan.mode = SearchMode::kBeam;
  plan.num_beams = beams;
  plan.num_return_sequences = beams;
  plan.max_length = new_tokens + 1;
  plan.length_penalty = length_penalty;
  plan.early_stopping = EarlyStopping::kNever;
  plan.eos_token_ids = {kEos};
  plan.return_scores = true;
  return plan;
}

// Every sequence that ends within the length, best first.
std::vector<std::pair<float, std::vector<int32_t>>> Exhaustive(const GenerationPlan& plan) {
  std::vector<std::pair<float, std::vector<int32_t>>> all;
  const std::function<void(std::vector<int32_t>, float)> grow = [&](std::vector<int32_t> tokens, float score) {
    const bool ends = tokens.size() > 1 && tokens.back() == kEos;
    if (ends || static_cast<int64_t>(tokens.size()) == plan.max_length) {
      const double length = static_cast<double>(tokens.size() - 1);
      all.emplace_back(score / static_cast<float>(std::pow(length, plan.length_penalty)),
                       std::vector<int32_t>(tokens.begin() + 1, tokens.end()));
      return;
    }
    const std::vector<float> log_probs = LogProbs(tokens);
    for (int32_t token = 0; token < kVocab; ++token) {
      tokens.push_back(token);
      grow(tokens, score + log_probs[token]);
      tokens.pop_back();
    }
  };
  grow({9}, 0);
  std::sort(all.rbegin(), all.rend());
  return all;
}

TEST(BeamSearch, WithABeamForEverySequenceIsExhaustive) {
  for (const double penalty : {0.0, 0.6, 1.0, 2.0}) {
    GenerationPlan plan = Plan(81, 4, penalty);
    plan.num_return_sequences = 10;
    const auto found = SearchAll(plan);
    const auto best = Exhaustive(plan);
    ASSERT_EQ(found.size(), 10u);
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].tokens, best[i].second) << penalty << " " << i;
      EXPECT_FLOAT_EQ(found[i].score, best[i].first);
    }
  }
}

TEST(BeamSearch, ScoresAreSumsOfLogProbabilitiesByLength) {
  for (const GeneratedSequence& one : SearchAll(Plan(4, 6, 0.6))) {
    ASSERT_EQ(one.log_probs.size(), one.tokens.size());
    float sum = 0;
    for (const float log_prob : one.log_probs) sum += log_prob;
    EXPECT_NEAR(one.score, sum / std::pow(one.tokens.size(), 0.6), 1e-5);
    EXPECT_EQ(one.reason, one.tokens.back() == kEos ? FinishReason::kEos : FinishReason::kLength);
  }
}

// Two beams over tokens 5, 6, 7; 0 ends.
struct Script {
  GenerationPlan plan = Plan(2, 10, 1);
  BeamSearch search{plan, {9}, nullptr};
};

TEST(BeamSearch, LinesFollowTheBestThatGoOn) {
  Script s;
  s.search.Advance({{-1, -1, 0, 5}, {-2, -2, 0, kEos}, {-3, -3, 0, 6}, {-4, -4, 0, 7}});
  EXPECT_THAT(s.search.parents(), ElementsAre(0, 0));
  EXPECT_THAT(s.search.tokens(1), ElementsAre(9, 6));
  s.search.Advance({{-3.5, -0.5, 1, 7}, {-3.6, -0.6, 1, 5}, {-4, -3, 0, 5}, {-5, -4, 0, 6}});
  EXPECT_THAT(s.search.parents(), ElementsAre(1, 1));
  EXPECT_THAT(s.search.tokens(0), ElementsAre(9, 6, 7));
  EXPECT_FALSE(s.search.done());
}

TEST(BeamSearch, AnEndAmongTheSpareCandidatesDoesNotCount) {
  Script s;
  s.plan.early_stopping = EarlyStopping::kTrue;
  s.search.Advance({{-1, -1, 0, 5}, {-2, -2, 0, 6}, {-3, -3, 0, kEos}, {-4, -4, 0, kEos}});
  EXPECT_FALSE(s.search.done());
  EXPECT_EQ(s.search.Take().size(), 0u);
}

TEST(BeamSearch, StopsByEarlyStopping) {
  // Two ends of mean -1 and -1.1 with an open line whose mean is -0.9 now: worth going on, unless any two ends will do.
  for (const auto& [early, done] : {std::pair{EarlyStopping::kTrue, true}, std::pair{EarlyStopping::kFalse, false}}) {
    Script s;
    s.plan.early_stopping = early;
    s.search.Advance({{-1, -1, 0, kEos}, {-0.9f, -0.9f, 0, 5}, {-3, -3, 0, 6}, {-9, -9, 0, 7}});
    s.search.Advance({{-2.2f, -1.3f, 0, kEos}, {-1.8f, -0.9f, 0, 5}, {-4, -3, 0, 6}, {-9, -6, 1, 7}});
    EXPECT_EQ(s.search.done(), done);
  }
  // Open lines of mean -2: worse now, but ten tokens of which might be better.
  for (const auto& [early, done] : {std::pair{EarlyStopping::kFalse, true}, std::pair{EarlyStopping::kNever, false}}) {
    Script s;
    s.plan.early_stopping = early;
    s.search.Advance({{-1, -1, 0, kEos}, {-2, -2, 0, 5}, {-3, -3, 0, 6}, {-9, -9, 0, 7}});
    s.search.Advance({{-2.2f, -0.2f, 0, kEos}, {-4, -2, 0, 5}, {-5, -2, 1, 6}, {-9, -6, 1, 7}});
    EXPECT_EQ(s.search.done(), done);
  }
}

TEST(BeamSearch, KeepsTheBestFinishedOnes) {
  Script s;
  s.search.Advance({{-1, -1, 0, kEos}, {-1.1f, -1.1f, 0, 5}, {-1.2f, -1.2f, 0, 6}});
  s.search.Advance({{-1.2f, -0.1f, 0, kEos}, {-1.3f, -0.1f, 1, kEos}, {-3, -2, 0, 5}, {-4, -3, 1, 5}});
  const auto best = s.search.Take();
  ASSERT_EQ(best.size(), 2u);
  EXPECT_THAT(best[0].tokens, ElementsAre(5, kEos));
  EXPECT_FLOAT_EQ(best[0].score, -0.6f);
  EXPECT_THAT(best[1].tokens, ElementsAre(6, kEos));
}

TEST(BeamSearch, EndsWhenNothingMayFollow) {
  Script s;
  s.search.Advance({{-1, -1, 0, 5}});
  EXPECT_EQ(s.search.lines(), 1);
  s.search.Advance({});
  EXPECT_TRUE(s.search.done());
  const auto best = s.search.Take();
  ASSERT_EQ(best.size(), 1u);
  EXPECT_THAT(best[0].tokens, ElementsAre(5));
  EXPECT_EQ(best[0].reason, FinishReason::kExhausted);
}

TEST(BeamSearch, LooksAtMoreCandidatesWithMoreEnds) {
  GenerationPlan plan = Plan(4, 5, 1);
  EXPECT_EQ(BeamSearch(plan, {9}, nullptr).width(), 8);
  plan.eos_token_ids = {0, 1, 2};
  EXPECT_EQ(BeamSearch(plan, {9}, nullptr).width(), 16);
  plan.eos_token_ids = {};
  EXPECT_EQ(BeamSearch(plan, {9}, nullptr).width(), 8);
}

TEST(BeamSearch, AsksForStopStrings) {
  const GenerationPlan plan = Plan(2, 10, 1);
  BeamSearch search(plan, {9}, [](absl::Span<const int32_t> tokens) { return tokens.back() == 6; });
  search.Advance({{-1, -1, 0, 6}, {-2, -2, 0, 5}, {-3, -3, 0, 7}});
  EXPECT_THAT(search.tokens(0), ElementsAre(9, 5));
  const auto best = search.Take();
  ASSERT_EQ(best.size(), 1u);
  EXPECT_EQ(best[0].reason, FinishReason::kStopString);
}

}  // namespace
}  // namespace tenon::engine
