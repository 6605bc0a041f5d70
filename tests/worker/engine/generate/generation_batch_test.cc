#include "worker/engine/generate/generation_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "common/formats/status.h"
#include "tests/worker/engine/generate/toy_decoder.h"

namespace tenon::engine {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kVocab = 24;

// Token 3 + i is the letter i.
std::string Letters(absl::Span<const int32_t> tokens) {
  std::string text;
  for (const int32_t token : tokens) {
    if (token > 2) text.push_back(static_cast<char>('a' + token - 3));
  }
  return text;
}

GenerationRequest Request(uint64_t id, GenerationPlan plan) {
  GenerationRequest request;
  request.id = id;
  request.source = {static_cast<int32_t>(id % 7) + 3, 5};
  request.prefix = {2};
  plan.eos_token_ids = {1};
  plan.return_scores = true;
  request.plan = std::move(plan);
  request.detokenize = Letters;
  return request;
}

GenerationPlan Greedy(int64_t new_tokens = 12) {
  GenerationPlan plan;
  plan.max_length = new_tokens + 1;
  return plan;
}

GenerationPlan Beams(int64_t beams, int64_t new_tokens = 12) {
  GenerationPlan plan = Greedy(new_tokens);
  plan.mode = SearchMode::kBeam;
  plan.num_beams = plan.num_return_sequences = beams;
  return plan;
}

GenerationPlan Samples(int64_t sequences, uint64_t seed, int64_t new_tokens = 12) {
  GenerationPlan plan = Greedy(new_tokens);
  plan.mode = SearchMode::kSample;
  plan.num_return_sequences = sequences;
  plan.seed = seed;
  return plan;
}

// All kinds of request.
GenerationRequest Mixed(uint64_t id) {
  GenerationPlan plan = id % 3 == 0   ? Greedy(5 + static_cast<int64_t>(id))
                        : id % 3 == 1 ? Beams(2 + static_cast<int64_t>(id) % 3)
                                      : Samples(1 + static_cast<int64_t>(id) % 4, id);
  if (id % 2 == 0) plan.no_repeat_ngram_size = 2;
  if (id % 4 == 1) plan.repetition_penalty = 1.3;
  if (id % 5 == 0) plan.stop_strings = {"ab", "q"};
  return Request(id, plan);
}

class GenerationBatchTest : public ::testing::Test {
 protected:
  GenerationBatch Make(GenerationBatch::Options options = {}) {
    return GenerationBatch(std::make_unique<ToyDecoder>(ToyModel::Seeded(kVocab, 3, 1, 1.5f), &counts_), options);
  }

  // One step; what finished is kept, what is streamed is put together.
  void Step(GenerationBatch& batch) {
    const auto events = batch.Step();
    ASSERT_TRUE(events.ok()) << events.status();
    for (const GenerationEvent& event : *events) {
      for (const SequenceDelta& delta : event.deltas) streamed_[{event.id, delta.sequence}] += delta.text;
      if (event.finished) finished_[event.id] = event.sequences;
    }
  }

  std::vector<GeneratedSequence> Alone(GenerationRequest request) {
    const uint64_t id = request.id;
    GenerationBatch batch = Make();
    EXPECT_TRUE(batch.Join({std::move(request)}).ok());
    while (batch.requests() > 0) Step(batch);
    return finished_[id];
  }

  ToyCounts counts_;
  std::map<uint64_t, std::vector<GeneratedSequence>> finished_;
  std::map<std::pair<uint64_t, int64_t>, std::string> streamed_;
};

void ExpectEqual(const std::vector<GeneratedSequence>& a, const std::vector<GeneratedSequence>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].tokens, b[i].tokens);
    EXPECT_EQ(a[i].log_probs, b[i].log_probs);
    EXPECT_EQ(a[i].score, b[i].score);
    EXPECT_EQ(a[i].text, b[i].text);
    EXPECT_EQ(a[i].reason, b[i].reason);
  }
}

TEST_F(GenerationBatchTest, JoinsAndLeavesChangeNobodysTokens) {
  constexpr uint64_t kRequests = 40;
  std::map<uint64_t, std::vector<GeneratedSequence>> alone;
  for (uint64_t id = 0; id < kRequests; ++id) alone[id] = Alone(Mixed(id));
  finished_.clear();
  counts_ = {};
  GenerationBatch batch = Make({.max_lines = 16});
  for (uint64_t next = 0; next < kRequests || batch.requests() > 0;) {
    std::vector<GenerationRequest> joining;
    if (next < kRequests && batch.CanJoin(Mixed(next).plan, 2)) joining.push_back(Mixed(next++));
    ASSERT_TRUE(batch.Join(std::move(joining)).ok());
    Step(batch);
    EXPECT_LE(batch.lines(), batch.reserved_lines());
  }
  for (uint64_t id = 0; id < kRequests; ++id) {
    SCOPED_TRACE(id);
    ExpectEqual(finished_[id], alone[id]);
  }
  EXPECT_LE(counts_.most_lines, 16);
  EXPECT_GT(counts_.most_lines, 8);                            // they were side by side
  EXPECT_EQ(counts_.joined, static_cast<int64_t>(kRequests));  // a source is read once, whatever the beams
  EXPECT_EQ(batch.reserved_lines(), 0);
  EXPECT_EQ(batch.reserved_tokens(), 0);
}

TEST_F(GenerationBatchTest, ARequestThatOverflowsLeavesAndTheOthersGoOn) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    ToyModel model = ToyModel::Seeded(kVocab, 3, 1, 1.5f);
    model.place[4][7] = bad;  // of every line's fourth token
    GenerationBatch batch(std::make_unique<ToyDecoder>(model), {});
    for (uint64_t id = 0; id < 9; ++id) ASSERT_TRUE(batch.Join({Mixed(id)}).ok());
    int64_t lost = 0;
    while (batch.requests() > 0) {
      const auto events = batch.Step();
      ASSERT_TRUE(events.ok()) << events.status();
      for (const GenerationEvent& event : *events) {
        if (event.finite) continue;
        ++lost;
        EXPECT_TRUE(event.finished);
        EXPECT_TRUE(event.sequences.empty());
      }
    }
    EXPECT_GT(lost, 0);
    EXPECT_EQ(batch.lines(), 0);
    EXPECT_EQ(batch.reserved_lines(), 0);
    EXPECT_EQ(batch.reserved_tokens(), 0);
  }
  // One source alone overflows, in its second step: beams and lines around it stay what they are.
  ToyModel model = ToyModel::Seeded(kVocab, 3, 1, 1.5f);
  constexpr uint64_t kBad = 4;
  const int64_t sum = Mixed(kBad).source[0] + Mixed(kBad).source[1];
  std::map<uint64_t, std::vector<GeneratedSequence>> alone;
  for (uint64_t id = 3; id < 7; ++id) alone[id] = Alone(Mixed(id));
  model.source.select(0, sum % ToyModel::kSources).fill_(std::numeric_limits<float>::infinity());
  finished_.clear();
  GenerationBatch batch(std::make_unique<ToyDecoder>(model), {});
  for (uint64_t id = 3; id < 7; ++id) ASSERT_TRUE(batch.Join({Mixed(id)}).ok());
  while (batch.requests() > 0) Step(batch);
  for (uint64_t id = 3; id < 7; ++id) {
    SCOPED_TRACE(id);
    if (id == kBad) {
      EXPECT_TRUE(finished_[id].empty());
    } else {
      ExpectEqual(finished_[id], alone[id]);
    }
  }
}

TEST_F(GenerationBatchTest, StreamedPiecesAreTheText) {
  GenerationBatch batch = Make();
  for (uint64_t id = 0; id < 30; ++id) {
    if (id % 3 == 1) continue;  // beams
    GenerationRequest request = Mixed(id);
    request.stream = true;
    ASSERT_TRUE(batch.Join({std::move(request)}).ok());
  }
  while (batch.requests() > 0) Step(batch);
  int64_t stopped = 0;
  for (const auto& [id, sequences] : finished_) {
    for (size_t i = 0; i < sequences.size(); ++i) {
      EXPECT_EQ((streamed_[{id, static_cast<int64_t>(i)}]), sequences[i].text);
      EXPECT_EQ(sequences[i].text, CutAtStop(Letters(sequences[i].tokens), Mixed(id).plan.stop_strings));
      stopped += sequences[i].reason == FinishReason::kStopString;
    }
  }
  EXPECT_GT(stopped, 0);
}

TEST_F(GenerationBatchTest, BeamsStopAtStopStrings) {
  GenerationPlan plan = Beams(3, 20);
  plan.stop_strings = {"a", "c", "e", "g"};
  int64_t stopped = 0;
  for (uint64_t id = 0; id < 10; ++id) {
    for (const GeneratedSequence& one : Alone(Request(id, plan))) {
      EXPECT_EQ(FindStop(one.text, plan.stop_strings), std::string::npos);
      const std::string all = Letters(one.tokens);
      const size_t stop = FindStop(all, plan.stop_strings);
      EXPECT_EQ(stop != std::string::npos, one.reason == FinishReason::kStopString);
      if (stop == std::string::npos) continue;
      EXPECT_EQ(stop, all.size() - 1);  // it ended with the token that brought it
      ++stopped;
    }
  }
  EXPECT_GT(stopped, 5);
}

TEST_F(GenerationBatchTest, ACancelledRequestsLinesAreFreeBeforeTheNextStep) {
  const auto expected = Alone(Mixed(3));
  GenerationBatch batch = Make();
  ASSERT_TRUE(batch.Join({Request(100, Beams(4, 50)), Mixed(3), Request(101, Samples(5, 1, 50))}).ok());
  Step(batch);
  Step(batch);
  const int64_t steps = counts_.line_steps, before = counts_.lines;
  ASSERT_TRUE(batch.Cancel(100).ok());
  ASSERT_TRUE(batch.Cancel(7777).ok());  // nobody
  EXPECT_EQ(counts_.lines, before - 4);
  EXPECT_EQ(batch.reserved_lines(), 6);
  Step(batch);
  EXPECT_EQ(counts_.line_steps - steps, before - 4);
  ASSERT_TRUE(batch.Cancel(101).ok());
  while (batch.requests() > 0) Step(batch);
  ExpectEqual(finished_[3], expected);
  EXPECT_EQ(finished_.count(100), 0u);
  EXPECT_EQ(counts_.lines, 0);
}

TEST_F(GenerationBatchTest, KeepsToItsBudget) {
  GenerationBatch batch = Make({.max_lines = 6, .max_tokens = 200});
  const GenerationPlan plan = Beams(4);  // 4 lines of 2 + 13 tokens
  EXPECT_TRUE(batch.CanJoin(plan, 2));
  ASSERT_TRUE(batch.Join({Request(1, plan)}).ok());
  EXPECT_EQ(batch.reserved_lines(), 4);
  EXPECT_EQ(batch.reserved_tokens(), 60);
  EXPECT_FALSE(batch.CanJoin(plan, 2));  // lines
  EXPECT_TRUE(batch.CanJoin(Samples(2, 1), 2));
  EXPECT_FALSE(batch.CanJoin(Samples(2, 1), 100));  // tokens
  EXPECT_TRUE(batch.CanJoin(Greedy(), 2, {Request(2, Greedy())}));
  EXPECT_FALSE(batch.CanJoin(Samples(2, 1), 2, {Request(2, Greedy())}));  // lines, with the other
  EXPECT_EQ(GetReason(batch.Join({Request(2, plan)})), Reason::kOutOfMemory);
  EXPECT_EQ(batch.requests(), 1u);
  EXPECT_TRUE(batch.CheckFits(plan, 2).ok());
  EXPECT_EQ(GetField(batch.CheckFits(Beams(7), 2)), "num_beams");
  EXPECT_EQ(GetField(batch.CheckFits(Samples(7, 1), 2)), "num_return_sequences");
  EXPECT_EQ(GetField(batch.CheckFits(plan, 60)), "max_new_tokens");
  EXPECT_THAT(std::string(batch.CheckFits(plan, 60).message()), HasSubstr("room for 200"));
}

TEST_F(GenerationBatchTest, ARefusedJoinLeavesTheBatchAsItWas) {
  GenerationBatch batch = Make();
  ASSERT_TRUE(batch.Join({Mixed(3)}).ok());
  GenerationRequest broken = Mixed(4), empty = Mixed(5), wordless = Mixed(5), unstarted = Mixed(5);
  broken.source = {-1};  // the decoder's own refusal
  empty.source.clear();
  wordless.detokenize = nullptr;
  unstarted.prefix.clear();
  EXPECT_EQ(batch.Join({Mixed(6), broken}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetReason(batch.Join({empty})), Reason::kTextEmpty);
  EXPECT_EQ(GetField(batch.Join({wordless})), "stop_strings");
  EXPECT_EQ(GetReason(batch.Join({unstarted})), Reason::kInternal);
  EXPECT_EQ(batch.requests(), 1u);
  EXPECT_EQ(batch.reserved_lines(), 1);
  while (batch.requests() > 0) Step(batch);
  const auto together = finished_[3];
  ExpectEqual(together, Alone(Mixed(3)));
}

class FailingDecoder : public ToyDecoder {
 public:
  using ToyDecoder::ToyDecoder;
  at::Tensor Step(absl::Span<const int32_t>) override { TORCH_CHECK(false, "no more memory"); }
};

TEST_F(GenerationBatchTest, ADecodersExceptionBecomesAStatus) {
  GenerationBatch batch(std::make_unique<FailingDecoder>(ToyModel::Seeded(kVocab, 3)), {});
  ASSERT_TRUE(batch.Join({Mixed(3)}).ok());
  EXPECT_THAT(std::string(batch.Step().status().message()), HasSubstr("no more memory"));
}

TEST_F(GenerationBatchTest, AnEmptyBatchStepsToNothing) {
  GenerationBatch batch = Make();
  const auto events = batch.Step();
  ASSERT_TRUE(events.ok());
  EXPECT_TRUE(events->empty());
  EXPECT_EQ(counts_.steps, 0);
}

}  // namespace
}  // namespace tenon::engine
