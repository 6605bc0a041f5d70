// Each way of searching against its definition, on a model small enough for both.
#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "tests/worker/engine/generate/toy_decoder.h"
#include "worker/engine/generate/generation_batch.h"

namespace tenon::engine {
namespace {

constexpr int32_t kStart = 2, kEos = 1;

GenerationRequest Request(const GenerationPlan& plan, std::vector<int32_t> source) {
  GenerationRequest request;
  request.source = std::move(source);
  request.prefix = {kStart};
  request.plan = plan;
  request.plan.eos_token_ids = {kEos};
  request.plan.return_scores = true;
  return request;
}

std::vector<GeneratedSequence> Generate(const ToyModel& model, const GenerationPlan& plan,
                                        std::vector<int32_t> source) {
  GenerationBatch batch(std::make_unique<ToyDecoder>(model), {.max_lines = 4096, .max_tokens = 1 << 20});
  EXPECT_TRUE(batch.Join({Request(plan, std::move(source))}).ok());
  while (true) {
    const auto events = batch.Step();
    EXPECT_TRUE(events.ok()) << events.status();
    if (!events.ok()) return {};
    if (events->front().finished) return events->front().sequences;
  }
}

GenerationPlan Plan(int64_t new_tokens) {
  GenerationPlan plan;
  plan.max_length = new_tokens + 1;
  return plan;
}

GenerationPlan Beams(int64_t beams, int64_t new_tokens) {
  GenerationPlan plan = Plan(new_tokens);
  plan.mode = SearchMode::kBeam;
  plan.num_beams = beams;
  return plan;
}

TEST(SearchModes, GreedyTakesTheLikeliestTokenEachTime) {
  const ToyModel model = ToyModel::Seeded(20, 1, kEos, 2);
  for (int32_t id = 3; id < 19; ++id) {
    std::vector<int32_t> tokens{kStart};
    float score = 0;
    while (tokens.size() < 16 && (tokens.size() == 1 || tokens.back() != kEos)) {
      const at::Tensor logits = model.Logits(tokens, {id});
      tokens.push_back(static_cast<int32_t>(logits.argmax().item<int64_t>()));
      score += at::log_softmax(logits, -1)[tokens.back()].item<float>();
    }
    const auto found = Generate(model, Plan(15), {id});
    EXPECT_EQ(found.front().tokens, std::vector<int32_t>(tokens.begin() + 1, tokens.end()));
    EXPECT_NEAR(found.front().score, score, 1e-4);
  }
}

TEST(SearchModes, ABeamForEverySequenceFindsTheBestOfAll) {
  constexpr int64_t kVocab = 5, kLength = 4;
  const ToyModel model = ToyModel::Seeded(kVocab, 2);
  for (int32_t id = 0; id < 8; ++id) {
    std::vector<std::pair<float, std::vector<int32_t>>> all;
    const std::function<void(std::vector<int32_t>, float)> grow = [&](std::vector<int32_t> tokens, float score) {
      const size_t written = tokens.size() - 1;
      if (written == kLength || (written > 0 && tokens.back() == kEos)) {
        all.emplace_back(score / static_cast<float>(written), std::vector<int32_t>(tokens.begin() + 1, tokens.end()));
        return;
      }
      const at::Tensor log_probs = at::log_softmax(model.Logits(tokens, {id}), -1);
      for (int32_t token = 0; token < kVocab; ++token) {
        tokens.push_back(token);
        grow(tokens, score + log_probs[token].item<float>());
        tokens.pop_back();
      }
    };
    grow({kStart}, 0);
    std::sort(all.rbegin(), all.rend());
    GenerationPlan plan = Beams(625, kLength);
    plan.num_return_sequences = 5;
    plan.early_stopping = EarlyStopping::kNever;
    const auto found = Generate(model, plan, {id});
    ASSERT_EQ(found.size(), 5u);
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].tokens, all[i].second) << i;
      EXPECT_NEAR(found[i].score, all[i].first, 1e-5);
    }
  }
}

TEST(SearchModes, SamplesFollowTheModel) {
  const ToyModel model = ToyModel::Seeded(6, 4);
  GenerationPlan plan = Plan(1);
  plan.mode = SearchMode::kSample;
  plan.num_return_sequences = 4000;
  std::vector<double> counts(6);
  for (const GeneratedSequence& one : Generate(model, plan, {3})) ++counts[static_cast<size_t>(one.tokens.front())];
  const at::Tensor chances = at::log_softmax(model.Logits({kStart}, {3}), -1).exp();
  double chi_square = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = 4000 * chances[static_cast<int64_t>(i)].item<float>();
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_square, 20.5);  // p = 0.001 with five degrees of freedom
}

bool RepeatsNGram(const std::vector<int32_t>& tokens, size_t n) {
  std::set<std::vector<int32_t>> seen;
  for (size_t i = 0; i + n <= tokens.size(); ++i) {
    if (!seen.insert({tokens.begin() + i, tokens.begin() + i + n}).second) return true;
  }
  return false;
}

TEST(SearchModes, OptionsHoldInEveryMode) {
  const ToyModel model = ToyModel::Seeded(16, 6);
  bool repeats = false, early = false, has_nine = false;
  for (int32_t id = 3; id < 13; ++id) {
    for (const SearchMode mode : {SearchMode::kGreedy, SearchMode::kSample, SearchMode::kBeam}) {
      GenerationPlan plan = mode == SearchMode::kBeam ? Beams(4, 20) : Plan(20);
      plan.mode = mode;
      plan.seed = static_cast<uint64_t>(id);
      if (mode != SearchMode::kGreedy) plan.num_return_sequences = 4;
      for (const GeneratedSequence& one : Generate(model, plan, {id})) {
        repeats |= RepeatsNGram(one.tokens, 2);
        early |= one.tokens.size() < 9;
        has_nine |= std::find(one.tokens.begin(), one.tokens.end(), 9) != one.tokens.end();
      }
      plan.no_repeat_ngram_size = 2;
      plan.min_length = 10;
      plan.bad_words = {{9}};
      plan.forced_bos_token_id = 7;
      for (const GeneratedSequence& one : Generate(model, plan, {id})) {
        std::vector<int32_t> whole{kStart};
        whole.insert(whole.end(), one.tokens.begin(), one.tokens.end());
        EXPECT_FALSE(RepeatsNGram(whole, 2));
        EXPECT_GE(one.tokens.size(), 9u);
        EXPECT_LE(one.tokens.size(), 20u);
        EXPECT_EQ(one.tokens.front(), 7);
        EXPECT_EQ(std::count(one.tokens.begin(), one.tokens.end(), 9), 0);
        EXPECT_EQ(one.log_probs.size(), one.tokens.size());
      }
    }
  }
  // Without the options they would have.
  EXPECT_TRUE(repeats);
  EXPECT_TRUE(early);
  EXPECT_TRUE(has_nine);
}

TEST(SearchModes, EndWhereTheOptionsLeaveNothing) {
  const ToyModel model = ToyModel::Seeded(5, 6);
  for (const SearchMode mode : {SearchMode::kGreedy, SearchMode::kSample, SearchMode::kBeam}) {
    GenerationPlan plan = mode == SearchMode::kBeam ? Beams(2, 20) : Plan(20);
    plan.mode = mode;
    plan.no_repeat_ngram_size = 1;
    plan.min_length = 30;
    for (const GeneratedSequence& one : Generate(model, plan, {3})) {
      EXPECT_EQ(one.reason, FinishReason::kExhausted);
      EXPECT_EQ(one.tokens.size(), 3u);  // all but the start and the end, each once
      EXPECT_TRUE(std::isfinite(one.score));
    }
  }
}

}  // namespace
}  // namespace tenon::engine
