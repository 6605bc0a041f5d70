// Summaries through the runtime, over the fake engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_join.h"
#include "common/formats/status.h"
#include "tests/worker/runtime/runtime_fixture.h"

namespace tenon::runtime {
namespace {

using tenon::testing::FakeEngine;
using tenon::testing::FakeLine;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class SummariesTest : public RuntimeFixture {
 protected:
  static SummaryCall Of(const std::string& base, std::vector<std::string> texts) {
    return {.base_digest = base, .texts = std::move(texts)};
  }
  absl::StatusOr<SummaryReply> Summarize(SummaryCall call) {
    absl::Notification done;
    absl::StatusOr<SummaryReply> result = absl::UnknownError("");
    runtime_->SubmitSummary(std::move(call), [&](absl::StatusOr<SummaryReply> reply) {
      result = std::move(reply);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }
  // `count` sentences, `1 1 1.` and so on; six tokens each for the fake base.
  static std::string Sentences(int count) {
    std::vector<std::string> sentences;
    for (int i = 1; i <= count; ++i) sentences.push_back(absl::StrCat(i, " ", i, " Word word ", i, "."));
    return absl::StrJoin(sentences, " ");
  }
};

TEST_F(SummariesTest, AWriterWritesThemWithItsPrefixAndItsDefaults) {
  std::vector<int32_t> source;
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>& lines) {
    source = lines[0].ids;
    return absl::OkStatus();
  };
  StartWriter();
  const auto reply = Summarize(Of("writer", {"5 6 7 8 9 10"}));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_FALSE(reply->extractive);
  ASSERT_THAT(reply->rows, SizeIs(1));
  EXPECT_EQ(reply->rows[0].summary, "5 6 7 8") << "four tokens: the base's own limit for summaries";
  EXPECT_EQ(reply->rows[0].input_tokens, 8);
  EXPECT_EQ(reply->rows[0].output_tokens, 4);
  EXPECT_FALSE(reply->rows[0].truncated);
  ASSERT_FALSE(source.empty());
  EXPECT_EQ(source[0], 1) << "`summarize:`";
  SummaryCall asked = Of("writer", {"5 6 7 8 9 10", "x"});
  asked.adapter_digest = "head-3";
  asked.options.emplace().max_new_tokens = 2;
  const auto other = Summarize(asked);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->rows[0].summary, "903 5");
  EXPECT_EQ(other->rows[1].summary, "903");
}

TEST_F(SummariesTest, AnAdaptersTemplateStandsAroundEveryPiece) {
  std::set<std::pair<int32_t, int32_t>> ends;
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>& lines) {
    for (const FakeLine& line : lines) {
      EXPECT_LE(line.ids.size(), 20u);
      ends.insert({line.ids.front(), line.ids[line.ids.size() - 2]});  // the last is the end's
    }
    return absl::OkStatus();
  };
  StartWriter();
  SummaryCall call = Of("writer", {Sentences(9)});
  call.frame = {"70 ", " 72"};
  call.max_input_tokens = 20;
  call.combine_chunks = true;
  const auto reply = Summarize(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_FALSE(reply->rows[0].truncated);
  using tenon::testing::FakeToken;
  EXPECT_THAT(ends, ElementsAre(std::make_pair(FakeToken(70), FakeToken(72))));
}

TEST_F(SummariesTest, WithoutChunksALongTextIsCutAndTheReplySaysSo) {
  StartWriter();
  SummaryCall call = Of("writer", {Sentences(20), "5"});
  call.max_input_tokens = 20;
  const auto reply = Summarize(call);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->rows[0].input_tokens, 20);
  EXPECT_TRUE(reply->rows[0].truncated);
  EXPECT_FALSE(reply->rows[1].truncated);
}

TEST_F(SummariesTest, ChunksReadAllOfALongText) {
  std::set<int32_t> read;
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>& lines) {
    for (const FakeLine& line : lines) {
      EXPECT_LE(line.ids.size(), 20u);
      read.insert(line.ids.begin(), line.ids.end());
    }
    return absl::OkStatus();
  };
  StartWriter();
  SummaryCall call = Of("writer", {Sentences(20), "5 6"});
  call.max_input_tokens = 20;
  call.combine_chunks = true;
  const auto reply = Summarize(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_FALSE(reply->rows[0].truncated);
  for (int i = 1; i <= 20; ++i) EXPECT_TRUE(read.count(tenon::testing::FakeToken(i))) << i;
  EXPECT_GT(reply->rows[0].input_tokens, 20 * 5) << "all rounds count";
  EXPECT_GT(reply->rows[0].output_tokens, 4 * 7);
  EXPECT_EQ(reply->rows[1].summary, "5 6");
  EXPECT_EQ(reply->rows[1].input_tokens, 4) << "it was read once";
}

TEST_F(SummariesTest, AChunkIsAsLongAsTheAdapterReads) {
  std::atomic<size_t> longest{0};
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>& lines) {
    for (const FakeLine& line : lines) longest = std::max<size_t>(longest, line.ids.size());
    return absl::OkStatus();
  };
  StartWriter();
  SummaryCall call = Of("writer", {Sentences(20)});
  call.adapter_digest = "limit-25";
  call.combine_chunks = true;
  const auto reply = Summarize(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_FALSE(reply->rows[0].truncated);
  EXPECT_LE(longest, 25u);
  EXPECT_GT(longest, 20u);
  call.adapter_digest = "broken";
  EXPECT_EQ(GetReason(Summarize(call).status()), Reason::kAdapterInvalid);
}

TEST_F(SummariesTest, AnEncoderChoosesSentences) {
  Start();
  // The fake base's vectors: {4, -1, tokens, first token}.
  SummaryCall call = Of("base", {"1 One. 2 Two. 3 Three. 4 Four.", "7 Only."});
  call.extractive = ExtractiveChoice{.method = ExtractiveChoice::Method::kCentroid, .max_sentences = 2};
  const auto reply = Summarize(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->extractive);
  ASSERT_THAT(reply->rows, SizeIs(2));
  ASSERT_THAT(reply->rows[0].sentences, SizeIs(2));
  EXPECT_LT(reply->rows[0].sentences[0], reply->rows[0].sentences[1]);
  EXPECT_EQ(reply->rows[0].input_tokens, 4 * 4);
  EXPECT_EQ(reply->rows[0].output_tokens, 0);
  EXPECT_EQ(reply->rows[1].summary, "7 Only.");
  EXPECT_THAT(reply->rows[1].sentences, ElementsAre(0));
  EXPECT_EQ(batched_rows_, 5);
  call.extractive.reset();
  EXPECT_THAT(Summarize(call)->rows[0].sentences, SizeIs(3)) << "the default";
}

TEST_F(SummariesTest, AnAdapterThatScoresSentencesChoosesThem) {
  std::vector<std::vector<int32_t>> read;
  FakeEngine::Get().on_infer = [&](const std::vector<engine::InferRow>& rows) {
    for (const engine::InferRow& row : rows) read.push_back(*row.ids);
    return absl::OkStatus();
  };
  Start();
  SummaryCall call = Of("base", {"5 One. 2 Two. 9 Three. 7 Four.", "7 Only."});
  call.adapter_digest = "scorer-1";
  call.extractive = ExtractiveChoice{.max_sentences = 2};
  const auto reply = Summarize(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->extractive);
  EXPECT_THAT(reply->rows[0].sentences, ElementsAre(2, 3));
  EXPECT_EQ(reply->rows[0].summary, "9 Three. 7 Four.");
  EXPECT_EQ(reply->rows[1].summary, "7 Only.");
  ASSERT_THAT(read, SizeIs(5));
  size_t longest = 0;
  for (const auto& ids : read) longest = std::max(longest, ids.size());
  EXPECT_EQ(longest, 14u) << "a sentence, its place, its two neighbours, what parts them, and two ends";
  // A method that is named is taken, on the adapter's embeddings.
  call.extractive->method = ExtractiveChoice::Method::kLead;
  EXPECT_THAT(Summarize(call)->rows[0].sentences, ElementsAre(0, 1));
}

TEST_F(SummariesTest, AScorerMayBeNamedWhereThereIsOne) {
  StartWriter();
  SummaryCall call = Of("base", {"5 One. 2 Two. 9 Three. 7 Four."});
  call.adapter_digest = "scorer-1";
  call.extractive = ExtractiveChoice{.method = ExtractiveChoice::Method::kScorer, .max_sentences = 2};
  const auto reply = Summarize(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(reply->rows[0].sentences, ElementsAre(2, 3));
  SummaryCall alone = call, other = call, writer = call;
  alone.adapter_digest = "";
  other.adapter_digest = "head-3";
  writer.base_digest = "writer";
  writer.adapter_digest = "";
  for (const SummaryCall& wrong : {alone, other, writer}) {
    const absl::Status status = Summarize(wrong).status();
    EXPECT_EQ(GetReason(status), Reason::kFieldInvalid) << status;
    EXPECT_EQ(GetField(status), "method");
  }
}

TEST_F(SummariesTest, AScorersContextMayBeCutButNotItsSentenceInSilence) {
  Start();
  const std::string words = absl::StrJoin(std::vector<std::string>(100, "Word"), " ");
  SummaryCall call =
      Of("base", {absl::StrCat("1 ", words, ". 2 ", words, "."), absl::StrCat("1 ", words, " ", words, ". 2 Two.")});
  call.adapter_digest = "scorer-3";
  const auto reply = Summarize(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_FALSE(reply->rows[0].truncated);
  EXPECT_TRUE(reply->rows[1].truncated);
}

TEST_F(SummariesTest, LeadEmbedsNothingButChecksTheAdapter) {
  Start();
  SummaryCall call = Of("base", {"1 One. 2 Two. 3 Three. 4 Four."});
  call.extractive = ExtractiveChoice{.method = ExtractiveChoice::Method::kLead, .max_sentences = 2};
  const auto reply = Summarize(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->rows[0].summary, "1 One. 2 Two.");
  EXPECT_THAT(reply->rows[0].sentences, ElementsAre(0, 1));
  EXPECT_EQ(batches_, 0);
  call.adapter_digest = "broken";
  EXPECT_EQ(GetReason(Summarize(call).status()), Reason::kAdapterInvalid);
}

TEST_F(SummariesTest, WhatIsNotReadIsSaid) {
  Start();
  SummaryCall call = Of("base", {absl::StrJoin(std::vector<std::string>(5000, "1 Word."), " "),
                                 absl::StrJoin(std::vector<std::string>(300, "word"), " "), "1 x."});
  call.extractive = ExtractiveChoice{.max_sentences = 1};
  const auto reply = Summarize(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->rows[0].truncated);
  EXPECT_EQ(reply->rows[0].input_tokens, 4096 * 4);
  EXPECT_TRUE(reply->rows[1].truncated) << "the sentence is longer than the encoder reads";
  EXPECT_THAT(reply->rows[1].summary, HasSubstr("word word"));
  EXPECT_EQ(reply->rows[1].summary.size(), 300 * 5 - 1u) << "but it is not cut in the summary";
  EXPECT_FALSE(reply->rows[2].truncated);
}

TEST_F(SummariesTest, ALongTextsSentencesDoNotStandBeforeOthersTexts) {
  Gate gate;
  std::atomic<int64_t> read{0}, before{-1};
  FakeEngine::Get().on_infer = [&](const std::vector<engine::InferRow>& rows) {
    gate.Pass();
    for (const engine::InferRow& row : rows) {
      if (row.ids->at(1) == tenon::testing::FakeToken(77)) before = read.load();
    }
    read += static_cast<int64_t>(rows.size());
    return absl::OkStatus();
  };
  Start();
  absl::Notification done;
  const std::string long_text = absl::StrJoin(std::vector<std::string>(3000, "1 Word."), " ");
  runtime_->SubmitSummary(Of("base", {long_text, Sentences(3)}), [&](const absl::StatusOr<SummaryReply>& reply) {
    EXPECT_TRUE(reply.ok()) << reply.status();
    if (reply.ok()) {
      EXPECT_THAT(reply->rows, SizeIs(2));
    }
    done.Notify();
  });
  gate.WaitUntilReached();
  absl::Notification embedded;
  runtime_->Submit(Embed({"77"}), [&](const auto&) { embedded.Notify(); });
  gate.Open();
  embedded.WaitForNotification();
  done.WaitForNotification();
  EXPECT_EQ(read, 3004);
  EXPECT_GE(before, 0);
  EXPECT_LE(before, 2 * 256);
}

TEST_F(SummariesTest, AnErrorNamesTheTextAndNotItsSentence) {
  Start();
  const absl::Status status = Summarize(Of("base", {Sentences(3), Sentences(3) + " 999 Overflows."})).status();
  EXPECT_EQ(GetReason(status), Reason::kResultNotFinite) << status;
  EXPECT_EQ(GetField(status), "texts[1]");
}

TEST_F(SummariesTest, RelevanceIsOfNoUseToAnotherMethod) {
  Start();
  for (const auto method : {ExtractiveChoice::Method::kMmr, ExtractiveChoice::Method::kCentroid,
                            ExtractiveChoice::Method::kLead, ExtractiveChoice::Method::kScorer}) {
    SummaryCall call = Of("base", {"1 One. 2 Two."});
    call.adapter_digest = "scorer-1";
    call.extractive = ExtractiveChoice{.method = method, .relevance = 0.1};
    const auto reply = Summarize(call);
    ASSERT_TRUE(reply.ok()) << reply.status();
    const bool used = method == ExtractiveChoice::Method::kMmr;
    EXPECT_EQ(reply->ignored_options,
              used ? std::vector<std::string>() : std::vector<std::string>{"extractive.relevance"});
  }
}

TEST_F(SummariesTest, OptionsOfTheOtherKindAreNamed) {
  StartWriter();
  SummaryCall call = Of("base", {"1 x."});
  call.options.emplace();
  call.combine_chunks = true;
  call.max_input_tokens = 5;
  EXPECT_THAT(Summarize(call)->ignored_options, ElementsAre("generation", "max_input_tokens", "combine_chunks"));
  SummaryCall write = Of("writer", {"1 x."});
  write.extractive.emplace();
  write.options.emplace().temperature = 0.5;
  write.options->return_scores = true;
  EXPECT_THAT(Summarize(write)->ignored_options, ElementsAre("extractive", "return_scores", "temperature"));
}

TEST_F(SummariesTest, RefusesWhatItCannotDo) {
  StartWriter();
  EXPECT_EQ(GetReason(Summarize(Of("nowhere", {"1"})).status()), Reason::kNoWorker);
  const auto blank = Summarize(Of("base", {"1 x.", " \n "})).status();
  EXPECT_EQ(GetReason(blank), Reason::kTextEmpty);
  EXPECT_EQ(GetField(blank), "texts[1]");
  SummaryCall several = Of("writer", {"1"});
  several.options.emplace().num_return_sequences = 2;
  EXPECT_EQ(GetField(Summarize(several).status()), "num_return_sequences");
  SummaryCall wrong = Of("writer", {"1"});
  wrong.options.emplace().top_p = 3;
  EXPECT_EQ(GetField(Summarize(wrong).status()), "top_p");
}

TEST_F(SummariesTest, ACancelledSummaryIsDroppedInAnyRound) {
  Gate gate, later;
  std::atomic<bool> held{false};
  FakeEngine::Get().on_step = [&](const auto&) {
    gate.Pass();
    if (held) later.Pass();
    return absl::OkStatus();
  };
  StartWriter();
  SummaryCall call = Of("writer", {Sentences(40)});
  call.combine_chunks = true;
  call.max_input_tokens = 20;
  std::atomic<int> answered{0};
  const uint64_t id = runtime_->SubmitSummary(call, [&](const auto&) { ++answered; });
  gate.WaitUntilReached();
  runtime_->Cancel(id);
  gate.Open();
  EXPECT_TRUE(Summarize(Of("writer", {"5"})).ok());
  EXPECT_EQ(answered, 0);
  EXPECT_EQ(runtime_->stats().queued_rows, 0);
  // Cancelled right away: before its text is cut, or while it is. None may be written meanwhile.
  held = true;
  for (int i = 0; i < 50; ++i) runtime_->Cancel(runtime_->SubmitSummary(call, [&](const auto&) { ++answered; }));
  later.Open();
  EXPECT_TRUE(Summarize(Of("writer", {"5"})).ok());
  EXPECT_EQ(answered, 0);
}

TEST_F(SummariesTest, ADeadlineEndsIt) {
  ManualClock clock;
  options_.clock = &clock;
  FakeEngine::Get().on_step = [&](const auto&) {
    clock.Advance(absl::Seconds(1));
    return absl::OkStatus();
  };
  StartWriter();
  SummaryCall call = Of("writer", {Sentences(40)});
  call.combine_chunks = true;
  call.max_input_tokens = 20;
  call.deadline = clock.Now() + absl::Milliseconds(5500);
  EXPECT_EQ(GetReason(Summarize(call).status()), Reason::kDeadlineExceeded);
  EXPECT_LE(FakeEngine::Get().steps, 7);
  runtime_.reset();  // before its clock
}

TEST_F(SummariesTest, AFullWorkerRefuses) {
  Gate gate;
  FakeEngine::Get().on_step = [&](const auto&) {
    gate.Pass();
    return absl::OkStatus();
  };
  options_.max_queued_tokens = 100;
  StartWriter();
  std::atomic<int> answered{0};
  runtime_->SubmitSummary(Of("writer", {std::string(800, 'x')}), [&](const auto&) { ++answered; });
  gate.WaitUntilReached();
  EXPECT_EQ(GetReason([&] {
              absl::Notification done;
              absl::Status status;
              runtime_->SubmitSummary(Of("writer", {"5"}), [&](const absl::StatusOr<SummaryReply>& reply) {
                status = reply.status();
                done.Notify();
              });
              gate.Open();
              done.WaitForNotification();
              return status;
            }()),
            Reason::kQueueFull);
  while (answered == 0) std::this_thread::yield();
  EXPECT_TRUE(Summarize(Of("writer", {"5"})).ok());
}

}  // namespace
}  // namespace tenon::runtime
