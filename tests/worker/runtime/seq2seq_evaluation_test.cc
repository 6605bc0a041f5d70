// Evaluations of written texts, over the fake engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "common/formats/status.h"
#include "tests/worker/runtime/runtime_fixture.h"

namespace tenon::runtime {
namespace {

using tenon::testing::FakeEngine;
using tenon::testing::FakeLine;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::Pair;

class Seq2SeqEvaluationTest : public RuntimeFixture {
 protected:
  using Scores = std::vector<engine::Seq2SeqScores>;

  static Seq2SeqEvalJob Job(std::vector<std::string> adapters, const std::vector<std::string>& inputs,
                            const std::vector<std::string>& targets) {
    Seq2SeqEvalJob job{.id = "e", .base_digest = "writer", .adapter_digests = std::move(adapters)};
    for (size_t i = 0; i < inputs.size(); ++i) job.rows.push_back({{"input", inputs[i]}, {"target", targets[i]}});
    job.text_template = formats::TextTemplate{"{input}", "{target}"};
    return job;
  }
  // A job and what came of it. Must outlive its answer, or the runtime.
  struct Evaluation {
    absl::StatusOr<Scores> scores = absl::UnknownError("");
    std::vector<std::pair<int64_t, int64_t>> progress;
    absl::Notification done;
  };
  void Start(Seq2SeqEvalJob job, Evaluation& evaluation) {
    Seq2SeqEvalCallbacks callbacks;
    callbacks.progress = [&](int64_t done, int64_t total) { evaluation.progress.emplace_back(done, total); };
    callbacks.done = [&](absl::StatusOr<Scores> scores) {
      evaluation.scores = std::move(scores);
      evaluation.done.Notify();
    };
    ASSERT_TRUE(runtime_->StartSeq2SeqEvaluation(std::move(job), callbacks).ok());
  }
  absl::StatusOr<Scores> Evaluate(Seq2SeqEvalJob job) {
    Evaluation evaluation;
    Start(std::move(job), evaluation);
    evaluation.done.WaitForNotification();
    progress_ = evaluation.progress;
    return evaluation.scores;
  }
  using RuntimeFixture::Start;
  static double Metric(const engine::Seq2SeqScores& scores, const std::string& name) {
    for (const engine::NamedMetric& metric : scores.metrics) {
      if (metric.name == name) return metric.value;
    }
    ADD_FAILURE() << "no metric " << name;
    return -1;
  }
  std::vector<std::pair<int64_t, int64_t>> progress_;
};

TEST_F(Seq2SeqEvaluationTest, ScoresWhatEveryModelWritesAndReads) {
  StartWriter();
  const auto scores = Evaluate(Job({"", "head-7"}, {"5 6 7", "8", "9 9"}, {"5 6 7", "907 8", "1"}));
  ASSERT_TRUE(scores.ok()) << scores.status();
  ASSERT_EQ(scores->size(), 2u);
  const engine::Seq2SeqScores& base = (*scores)[0];
  EXPECT_EQ(base.examples, 3);
  EXPECT_DOUBLE_EQ(Metric(base, "exact_match"), 1.0 / 3) << "the base writes its input";
  EXPECT_DOUBLE_EQ(Metric((*scores)[1], "exact_match"), 1.0 / 3) << "the adapter puts 907 before it";
  EXPECT_DOUBLE_EQ(Metric(base, "loss"), 0.5);
  // Targets of 4, 3 and 2 tokens with their ends: foreseen are the first three.
  EXPECT_DOUBLE_EQ(Metric(base, "token_accuracy"), 3.0 / 9);
  EXPECT_DOUBLE_EQ(Metric((*scores)[1], "token_accuracy"), 2.0 / 9);
  EXPECT_NEAR(Metric(base, "rouge1"), (1 + 2.0 / 3 + 0) / 3, 1e-12);
  EXPECT_THAT(base.classes, IsEmpty());
  EXPECT_THAT(progress_.back(), Pair(6, 6));
}

TEST_F(Seq2SeqEvaluationTest, IsWhatGenerateGivesForTheSameRows) {
  StartWriter();
  std::vector<std::string> inputs;
  for (int i = 0; i < 30; ++i) inputs.push_back(i % 4 == 0 ? "on" : absl::StrCat(i, " ", i * 3));
  GenerationCall call = Write("head-2", inputs, 6);
  call.options.do_sample = true;
  call.options.seed = 17;
  call.bad_words = {"44"};
  const auto reply = Generate(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  Seq2SeqEvalJob job = Job({"head-2"}, inputs, Texts(*reply));
  job.options = call.options;
  job.bad_words = call.bad_words;
  const auto scores = Evaluate(std::move(job));
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_DOUBLE_EQ(Metric((*scores)[0], "exact_match"), 1);
}

TEST_F(Seq2SeqEvaluationTest, WithoutASeedRowsDrawApartButTheSameEveryTime) {
  StartWriter();
  // The fake writes the seed first: row i draws by i.
  Seq2SeqEvalJob job = Job({""}, {"5", "5", "5"}, {"0 5", "1 5", "2 5"});
  job.options.do_sample = true;
  const auto scores = Evaluate(job);
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_DOUBLE_EQ(Metric((*scores)[0], "exact_match"), 1);
}

TEST_F(Seq2SeqEvaluationTest, LabelsMakeItAClassification) {
  StartWriter();
  Seq2SeqEvalJob job = Job({""}, {"1", "2", "3", "4"}, {"1.", "2", "2", "1"});
  job.labels = {"1", "2"};
  const auto scores = Evaluate(std::move(job));
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_DOUBLE_EQ(Metric((*scores)[0], "accuracy"), 0.5);
  EXPECT_DOUBLE_EQ(Metric((*scores)[0], "unparsable"), 0.5);
  EXPECT_THAT((*scores)[0].confusion, ElementsAre(1, 0, 0, 1));
}

TEST_F(Seq2SeqEvaluationTest, AnAdaptersOwnTemplateIsTheDefault) {
  StartWriter();
  Seq2SeqEvalJob job = Job({"template-3"}, {"5"}, {"903 5 77"});
  job.text_template.reset();
  auto scores = Evaluate(job);
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_DOUBLE_EQ(Metric((*scores)[0], "exact_match"), 1);
  for (const char* without : {"", "head-3"}) {
    job.adapter_digests = {without};
    scores = Evaluate(job);
    EXPECT_EQ(GetReason(scores.status()), Reason::kFieldRequired);
    EXPECT_EQ(GetField(scores.status()), "text_template");
  }
}

TEST_F(Seq2SeqEvaluationTest, RowsJoinAsOthersFinish) {
  options_.max_decoder_lines = 4;
  size_t widest = 0;
  std::vector<size_t> widths;
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>& lines) {
    widths.push_back(lines.size());
    return absl::OkStatus();
  };
  StartWriter();
  // Of every three rows one writes 12 tokens, the others 2.
  std::vector<std::string> inputs, targets;
  for (int i = 0; i < 30; ++i) {
    inputs.push_back(i % 3 == 0 ? "on" : "5");
    targets.push_back("5");
  }
  Seq2SeqEvalJob job = Job({"head-1"}, inputs, targets);
  job.options.max_new_tokens = 12;
  ASSERT_TRUE(Evaluate(std::move(job)).ok());
  int64_t lines = 0, idle = 0;
  for (const size_t width : widths) {
    widest = std::max(widest, width);
    lines += static_cast<int64_t>(width);
    idle += 4 - static_cast<int64_t>(width);
  }
  EXPECT_EQ(widest, 4u);
  EXPECT_LT(idle, lines / 5) << "lines that are free are taken while others still write";
  EXPECT_EQ(FakeEngine::Get().decoders_live, 0) << "its decoder is given back";
}

TEST_F(Seq2SeqEvaluationTest, ASliceReadsABoundedNumberOfSources) {
  options_.max_batch_tokens = 16;
  std::vector<int64_t> joined;
  FakeEngine::Get().on_join = [&](int64_t, const std::vector<FakeLine>& joining) {
    int64_t tokens = 0;
    for (const FakeLine& line : joining) tokens += static_cast<int64_t>(line.ids.size());
    joined.push_back(tokens);
    return absl::OkStatus();
  };
  StartWriter();
  ASSERT_TRUE(Evaluate(Job({""}, std::vector<std::string>(20, "1 2 3"), std::vector<std::string>(20, "1"))).ok());
  EXPECT_THAT(joined, Each(Le(8)));
}

TEST_F(Seq2SeqEvaluationTest, ForegroundCallsAreAnsweredWhileALongTextIsWritten) {
  options_.device_adapters = 1;
  options_.max_decoder_tokens = 1 << 22;
  Gate gate;
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>& lines) {
    if (lines.size() == 1 && lines[0].answer == 1 && lines[0].written > 2) gate.Pass();
    return absl::OkStatus();
  };
  StartWriter();
  Evaluation evaluation;
  Seq2SeqEvalJob job = Job({"head-1"}, {"on"}, {"1"});
  job.options.max_new_tokens = 1 << 20;
  Start(std::move(job), evaluation);
  gate.WaitUntilReached();
  gate.Open();
  // Other adapters need the only slot: the evaluation, whose text is nowhere near its end, does not hold it.
  const auto label = Call(Classify("head-9", {"x"}));
  ASSERT_TRUE(label.ok()) << label.status();
  const auto written = Generate(Write("head-8", {"3"}));
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_THAT(Texts(*written), ElementsAre("908 3"));
  EXPECT_FALSE(evaluation.done.HasBeenNotified());
  runtime_->CancelJob("e");
  evaluation.done.WaitForNotification();
  EXPECT_EQ(GetReason(evaluation.scores.status()), Reason::kCancelled);
}

TEST_F(Seq2SeqEvaluationTest, CancelStopsItWithinASlice) {
  Gate gate;
  std::atomic<int64_t> after{0};
  std::atomic<bool> opened{false};
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>&) {
    if (opened) ++after;
    gate.Pass();
    return absl::OkStatus();
  };
  StartWriter();
  Evaluation evaluation;
  Seq2SeqEvalJob job = Job({"head-1"}, {"on"}, {"1"});
  job.options.max_new_tokens = 5000;
  Start(std::move(job), evaluation);
  gate.WaitUntilReached();
  runtime_->CancelJob("e");
  opened = true;
  gate.Open();
  evaluation.done.WaitForNotification();
  EXPECT_EQ(GetReason(evaluation.scores.status()), Reason::kCancelled);
  EXPECT_EQ(after, 0);
  EXPECT_EQ(FakeEngine::Get().decoders_live, 0);
  EXPECT_TRUE(Evaluate(Job({"head-1"}, {"1"}, {"1"})).ok()) << "the id is free again";
}

TEST_F(Seq2SeqEvaluationTest, ManyAdaptersBesideInferenceAndTraining) {
  options_.device_adapters = 2;
  options_.max_decoder_lines = 8;
  StartWriter();
  std::atomic<bool> stop{false};
  std::vector<std::thread> clients;
  for (int t = 0; t < 3; ++t) {
    clients.emplace_back([&, t] {
      while (!stop) {
        const auto reply = Generate(Write(absl::StrCat("head-", 10 + t), {"4"}));
        ASSERT_TRUE(reply.ok()) << reply.status();
        ASSERT_EQ(Texts(*reply)[0], absl::StrCat(910 + t, " 4"));
      }
    });
  }
  std::vector<std::string> adapters, inputs, targets;
  for (int i = 0; i < 12; ++i) adapters.push_back(absl::StrCat("head-", i));
  for (int i = 0; i < 20; ++i) {
    inputs.push_back(absl::StrCat(i));
    targets.push_back(absl::StrCat("903 ", i));
  }
  const auto scores = Evaluate(Job(adapters, inputs, targets));
  stop = true;
  for (std::thread& client : clients) client.join();
  ASSERT_TRUE(scores.ok()) << scores.status();
  for (int i = 0; i < 12; ++i) EXPECT_DOUBLE_EQ(Metric((*scores)[i], "exact_match"), i == 3 ? 1 : 0) << i;
  EXPECT_THAT(progress_.back(), Pair(240, 240));
}

TEST_F(Seq2SeqEvaluationTest, ResultsThatAreNotFiniteNameTheirRow) {
  StartWriter();
  const auto read = Evaluate(Job({""}, {"1", "2", "3"}, {"1", "2 999", "3"}));
  EXPECT_EQ(GetReason(read.status()), Reason::kResultNotFinite) << read.status();
  EXPECT_EQ(GetField(read.status()), "row 2");
  const auto written = Evaluate(Job({""}, {"1", "2", "3 999"}, {"1", "2", "3"}));
  EXPECT_EQ(GetReason(written.status()), Reason::kResultNotFinite) << written.status();
  EXPECT_EQ(GetField(written.status()), "row 3");
  EXPECT_EQ(FakeEngine::Get().decoders_live, 0);
}

TEST_F(Seq2SeqEvaluationTest, ABrokenRowIsNamed) {
  StartWriter();
  Seq2SeqEvalJob job = Job({""}, {"1", "2", "3"}, {"1", " ", "3"});
  auto scores = Evaluate(job);
  EXPECT_EQ(GetReason(scores.status()), Reason::kDatasetInvalid);
  EXPECT_EQ(GetField(scores.status()), "row 2");
  EXPECT_THAT(scores.status().message(), HasSubstr("target"));
  job = Job({""}, {"1", "2", "3"}, {"1", "2", "3"});
  job.labels = {"1", "2"};
  scores = Evaluate(job);
  EXPECT_EQ(GetReason(scores.status()), Reason::kLabelUnknown);
  EXPECT_EQ(GetField(scores.status()), "row 3");
  job.labels = {"One", "one"};
  EXPECT_EQ(GetField(Evaluate(job).status()), "labels");
}

TEST_F(Seq2SeqEvaluationTest, WhatCannotBeRunIsRefused) {
  options_.max_decoder_tokens = 64;
  StartWriter();
  Seq2SeqEvalJob job = Job({""}, {"1"}, {"1"});
  job.base_digest = "base";
  EXPECT_EQ(GetReason(Evaluate(job).status()), Reason::kNotGenerative);
  job.base_digest = "writer";
  job.options.num_beams = 1;
  job.options.do_sample = true;
  job.options.num_return_sequences = 2;
  EXPECT_EQ(GetField(Evaluate(job).status()), "num_return_sequences");
  job.options = {};
  job.options.num_beams = 0;
  EXPECT_EQ(GetField(Evaluate(job).status()), "num_beams");
  job.options = {};
  job.max_target_tokens = 0;
  EXPECT_EQ(GetField(Evaluate(job).status()), "max_target_tokens");
  job.max_target_tokens = 128;
  job.options.max_new_tokens = 200;
  EXPECT_EQ(GetField(Evaluate(job).status()), "row 1") << "there is no room for it, ever";
  EXPECT_EQ(GetReason(Evaluate(Job({"head-1", "broken"}, {"1"}, {"1"})).status()), Reason::kAdapterInvalid);
  Seq2SeqEvalJob unknown = Job({""}, {"1"}, {"1"});
  unknown.base_digest = "nowhere";
  EXPECT_EQ(GetReason(runtime_->StartSeq2SeqEvaluation(unknown, {})), Reason::kNoWorker);
}

TEST_F(Seq2SeqEvaluationTest, TextsAreCutToTheirLimits) {
  StartWriter();
  Seq2SeqEvalJob job = Job({""}, {"1 2 3 4 5 6"}, {"1 2 3"});
  job.max_input_tokens = 4;
  job.max_target_tokens = 2;
  const auto scores = Evaluate(std::move(job));
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_DOUBLE_EQ(Metric((*scores)[0], "exact_match"), 1) << "three numbers and the end were read";
  EXPECT_DOUBLE_EQ(Metric((*scores)[0], "token_accuracy"), 0.5) << "one number and the end";
}

TEST_F(Seq2SeqEvaluationTest, ALostDecoderFailsTheJobAlone) {
  std::atomic<bool> broken{true};
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>&) -> absl::Status {
    if (broken) return TenonError(Reason::kOutOfMemory, "no memory");
    return absl::OkStatus();
  };
  StartWriter();
  EXPECT_EQ(GetReason(Evaluate(Job({"head-1"}, {"1"}, {"1"})).status()), Reason::kOutOfMemory);
  broken = false;
  EXPECT_TRUE(Generate(Write("head-1", {"1"})).ok());
}

TEST_F(Seq2SeqEvaluationTest, NoRowsAreAllDone) {
  StartWriter();
  const auto scores = Evaluate(Job({"", "head-1"}, {}, {}));
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_EQ((*scores)[1].examples, 0);
}

}  // namespace
}  // namespace tenon::runtime
