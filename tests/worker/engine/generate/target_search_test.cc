#include "worker/engine/generate/target_search.h"

#include <ATen/ops/log_softmax.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "common/formats/status.h"
#include "tests/worker/engine/generate/toy_decoder.h"
#include "worker/engine/generate/generation_batch.h"

namespace tenon::engine {
namespace {

using testing::ElementsAre;

constexpr int64_t kVocab = 24;

TEST(TargetSearch, ReadsTheTargetTokenByToken) {
  TargetSearch search({7, 8, 1}, {2});
  EXPECT_EQ(search.lines(), 1);
  EXPECT_THAT(search.tokens(0), ElementsAre(2));
  EXPECT_EQ(search.next(), 7);
  search.Advance(-0.5f, 7);
  EXPECT_THAT(search.tokens(0), ElementsAre(2, 7));
  EXPECT_THAT(search.parents(), ElementsAre(0));
  search.Advance(-2.0f, 3);
  EXPECT_FALSE(search.done());
  search.Advance(-0.25f, 1);
  ASSERT_TRUE(search.done());
  EXPECT_EQ(search.lines(), 0);
  EXPECT_TRUE(search.parents().empty());
  const std::vector<GeneratedSequence> judged = search.Take();
  ASSERT_EQ(judged.size(), 1u);
  EXPECT_THAT(judged[0].tokens, ElementsAre(7, 8, 1));
  EXPECT_THAT(judged[0].log_probs, ElementsAre(-0.5f, -2.0f, -0.25f));
  EXPECT_FLOAT_EQ(judged[0].score, -2.75f);
  EXPECT_EQ(judged[0].foreseen_tokens, 2);
}

GenerationRequest Reading(uint64_t id, std::vector<int32_t> target) {
  GenerationRequest request;
  request.id = id;
  request.source = {static_cast<int32_t>(id % 7) + 3, 5};
  request.prefix = {2};
  request.plan = ReadingPlan(static_cast<int64_t>(target.size()));
  request.target = std::move(target);
  return request;
}

GenerationRequest Writing(uint64_t id) {
  GenerationRequest request = Reading(id, {});
  request.plan = {};
  request.plan.max_length = 10;
  request.plan.mode = id % 2 == 0 ? SearchMode::kGreedy : SearchMode::kBeam;
  request.plan.num_beams = id % 2 == 0 ? 1 : 3;
  request.plan.repetition_penalty = 1.5;
  request.plan.eos_token_ids = {1};
  return request;
}

// Everything that finishes, by id.
std::map<uint64_t, GeneratedSequence> FinishAll(std::vector<GenerationRequest> requests) {
  GenerationBatch batch(std::make_unique<ToyDecoder>(ToyModel::Seeded(kVocab, 3, 1, 1.5f)), {});
  EXPECT_TRUE(batch.Join(std::move(requests)).ok());
  std::map<uint64_t, GeneratedSequence> finished;
  while (batch.requests() > 0) {
    auto events = batch.Step();
    EXPECT_TRUE(events.ok()) << events.status();
    if (!events.ok()) break;
    for (GenerationEvent& event : *events) {
      if (event.finished) finished[event.id] = event.sequences.at(0);
    }
  }
  return finished;
}

TEST(TargetSearch, GivesTheModelsLogProbabilities) {
  const ToyModel model = ToyModel::Seeded(kVocab, 3, 1, 1.5f);
  const std::vector<int32_t> target = {9, 4, 17, 9, 1};
  const GeneratedSequence judged = FinishAll({Reading(5, target)})[5];
  ASSERT_EQ(judged.log_probs.size(), target.size());
  std::vector<int32_t> sequence = {2};
  int64_t foreseen = 0;
  for (size_t i = 0; i < target.size(); ++i) {
    const at::Tensor logits = model.Logits(sequence, Reading(5, {}).source);
    const at::Tensor log_probs = at::log_softmax(logits, -1);
    EXPECT_NEAR(judged.log_probs[i], log_probs[target[i]].item<float>(), 1e-6) << i;
    foreseen += logits.argmax().item<int64_t>() == target[i];
    sequence.push_back(target[i]);
  }
  EXPECT_EQ(judged.foreseen_tokens, foreseen);
}

TEST(TargetSearch, WhatTheModelWritesItForesees) {
  GenerationRequest greedy = Writing(4);
  greedy.plan.repetition_penalty = 1;
  const std::vector<int32_t> written = FinishAll({std::move(greedy)})[4].tokens;
  EXPECT_EQ(FinishAll({Reading(4, written)})[4].foreseen_tokens, static_cast<int64_t>(written.size()));
}

TEST(TargetSearch, ReadersAndWritersDoNotChangeEachOther) {
  const auto requests = [] {
    std::vector<GenerationRequest> made;
    for (uint64_t id = 1; id <= 8; ++id) {
      made.push_back(id % 3 == 0 ? Reading(id, std::vector<int32_t>(id, static_cast<int32_t>(id + 6))) : Writing(id));
    }
    return made;
  };
  const auto together = FinishAll(requests());
  ASSERT_EQ(together.size(), 8u);
  for (GenerationRequest& request : requests()) {
    const uint64_t id = request.id;
    std::vector<GenerationRequest> one;
    one.push_back(std::move(request));
    const GeneratedSequence alone = FinishAll(std::move(one))[id];
    EXPECT_EQ(together.at(id).tokens, alone.tokens) << id;
    EXPECT_EQ(together.at(id).log_probs, alone.log_probs) << id;
  }
}

TEST(TargetSearch, ATargetAndItsPlanGoTogether) {
  GenerationBatch batch(std::make_unique<ToyDecoder>(ToyModel::Seeded(kVocab, 3, 1, 1.5f)), {});
  EXPECT_EQ(GetReason(batch.Join({Reading(1, {})})), Reason::kInternal);
  GenerationRequest writing = Writing(1);
  writing.target = {5};
  EXPECT_EQ(GetReason(batch.Join({writing})), Reason::kInternal);
  const absl::Status unknown = batch.Join({Reading(1, {5, kVocab})});
  EXPECT_EQ(GetReason(unknown), Reason::kFieldInvalid);
  EXPECT_EQ(GetField(unknown), "target");
  EXPECT_EQ(batch.requests(), 0u);
}

}  // namespace
}  // namespace tenon::engine
