#include "worker/engine/evaluate/seq2seq.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "worker/engine/evaluate/bootstrap.h"

namespace tenon::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

double Metric(const Seq2SeqScores& scores, const std::string& name) {
  for (const NamedMetric& metric : scores.metrics) {
    if (metric.name == name) return metric.value;
  }
  ADD_FAILURE() << "no metric " << name;
  return -1;
}

const MetricInterval* Interval(const Seq2SeqScores& scores, const std::string& name) {
  for (const MetricInterval& interval : scores.intervals) {
    if (interval.name == name) return &interval;
  }
  return nullptr;
}

std::vector<std::string> Names(const Seq2SeqScores& scores) {
  std::vector<std::string> names;
  for (const NamedMetric& metric : scores.metrics) names.push_back(metric.name);
  return names;
}

Seq2SeqScores Score(const Seq2SeqScoring& scoring, const std::vector<Seq2SeqRow>& rows) {
  auto evaluator = Seq2SeqEvaluator::Create(scoring);
  EXPECT_TRUE(evaluator.ok()) << evaluator.status();
  for (const Seq2SeqRow& row : rows) {
    EXPECT_TRUE(evaluator->CheckReference(row.reference).ok());
    evaluator->Add(row);
  }
  return evaluator->Finish();
}

// Expected numbers are rouge_score's with its stemmer: F1 of the first pair .75, 1/3, .75, .75 (`cats` and `cat`,
// `sitting` and `sits` are one stem each), of the second all 1.
TEST(Seq2SeqEvaluator, MeansOfRougeOverRows) {
  const Seq2SeqScores scores =
      Score({}, {{.reference = "the cats are sitting", .written = "the cat sits here", .loss = 1, .tokens = 4},
                 {.reference = "One line.", .written = "one line", .loss = 0, .tokens = 2}});
  EXPECT_NEAR(Metric(scores, "rouge1"), (0.75 + 1) / 2, 1e-12);
  EXPECT_NEAR(Metric(scores, "rouge2"), (1.0 / 3 + 1) / 2, 1e-12);
  EXPECT_NEAR(Metric(scores, "rougeL"), (0.75 + 1) / 2, 1e-12);
  EXPECT_NEAR(Metric(scores, "rougeLsum"), (0.75 + 1) / 2, 1e-12);
  EXPECT_DOUBLE_EQ(Metric(scores, "exact_match"), 0.5);
  EXPECT_EQ(scores.examples, 2);
  EXPECT_THAT(Names(scores),
              ElementsAre("loss", "token_accuracy", "rouge1", "rouge2", "rougeL", "rougeLsum", "exact_match"));
  EXPECT_THAT(scores.classes, IsEmpty());
}

TEST(Seq2SeqEvaluator, TheStemmerCanBeLeftOut) {
  const Seq2SeqScores scores = Score({.use_stemmer = false}, {{.reference = "cats", .written = "cat"}});
  EXPECT_DOUBLE_EQ(Metric(scores, "rouge1"), 0);
}

TEST(Seq2SeqEvaluator, LossIsByTokenNotByRow) {
  const Seq2SeqScores scores =
      Score({}, {{.reference = "a", .written = "a", .loss = 3, .tokens = 1, .foreseen_tokens = 0},
                 {.reference = "b", .written = "b", .loss = 1, .tokens = 9, .foreseen_tokens = 5}});
  EXPECT_DOUBLE_EQ(Metric(scores, "loss"), 0.4);
  EXPECT_DOUBLE_EQ(Metric(scores, "token_accuracy"), 0.5);
  EXPECT_EQ(Interval(scores, "loss"), nullptr) << "not a mean over rows";
}

TEST(Seq2SeqEvaluator, LabelsThatAreWrittenAreClassesAndTheRestIsWrong) {
  const Seq2SeqScores scores =
      Score({.labels = {"World", "Sports", "Sci/Tech"}}, {{.reference = "World", .written = " world."},
                                                          {.reference = "World", .written = "sports"},
                                                          {.reference = "sports", .written = "SPORTS!"},
                                                          {.reference = "Sports", .written = "the sports"},
                                                          {.reference = "Sci/Tech", .written = ""}});
  EXPECT_DOUBLE_EQ(Metric(scores, "accuracy"), 0.4);
  EXPECT_DOUBLE_EQ(Metric(scores, "unparsable"), 0.4);
  EXPECT_DOUBLE_EQ(Metric(scores, "exact_match"), 0.4);
  // World: 1 of 1 predicted, of 2 true; Sports: 1 of 2, of 2; Sci/Tech: none.
  EXPECT_NEAR(Metric(scores, "macro_f1"), (2.0 / 3 + 0.5 + 0) / 3, 1e-12);
  EXPECT_THAT(scores.confusion, ElementsAre(1, 1, 0, 0, 1, 0, 0, 0, 0));
  ASSERT_EQ(scores.classes.size(), 3u);
  EXPECT_EQ(scores.classes[1].support, 2);
  EXPECT_DOUBLE_EQ(scores.classes[0].precision, 1);
  EXPECT_DOUBLE_EQ(scores.classes[0].recall, 0.5);
}

TEST(Seq2SeqEvaluator, IntervalsHoldTheMeanAndAreTheSameEveryTime) {
  std::vector<Seq2SeqRow> rows;
  std::vector<double> exact;
  for (int i = 0; i < 60; ++i) {
    rows.push_back({.reference = "yes", .written = i % 3 == 0 ? "no" : "yes"});
    exact.push_back(i % 3 == 0 ? 0 : 1);
  }
  const Seq2SeqScores scores = Score({.labels = {"yes", "no"}}, rows);
  const MeanInterval expected = BootstrapMean(exact, {.resamples = 1000, .confidence = 0.95, .seed = 0});
  const MetricInterval* interval = Interval(scores, "accuracy");
  ASSERT_NE(interval, nullptr);
  EXPECT_EQ(interval->low, expected.low);
  EXPECT_EQ(interval->high, expected.high);
  EXPECT_LT(interval->low, Metric(scores, "accuracy"));
  EXPECT_GT(interval->high, Metric(scores, "accuracy"));
  EXPECT_EQ(Interval(scores, "macro_f1"), nullptr);
  const Seq2SeqScores again = Score({.labels = {"yes", "no"}}, rows);
  for (size_t i = 0; i < scores.intervals.size(); ++i) EXPECT_EQ(scores.intervals[i].low, again.intervals[i].low);
  const Seq2SeqScores surer = [&] {
    std::vector<Seq2SeqRow> many;
    for (int i = 0; i < 100; ++i) many.insert(many.end(), rows.begin(), rows.end());
    return Score({}, many);
  }();
  EXPECT_LT(Interval(surer, "exact_match")->high - Interval(surer, "exact_match")->low, interval->high - interval->low);
}

TEST(Seq2SeqEvaluator, LabelsThatAreOneAnswerAreRefusedByName) {
  const auto evaluator = Seq2SeqEvaluator::Create({.labels = {"Yes", "no", "yes!"}});
  EXPECT_EQ(GetReason(evaluator.status()), Reason::kFieldInvalid);
  EXPECT_EQ(GetField(evaluator.status()), "labels");
  EXPECT_THAT(evaluator.status().message(), HasSubstr("`Yes` and `yes!`"));
  EXPECT_THAT(Seq2SeqEvaluator::Create({.labels = {"a", " "}}).status().message(), HasSubstr("label 2"));
}

TEST(Seq2SeqEvaluator, ATargetThatIsNoLabelIsRefused) {
  const auto evaluator = Seq2SeqEvaluator::Create({.labels = {"Yes", "no"}});
  ASSERT_TRUE(evaluator.ok());
  EXPECT_TRUE(evaluator->CheckReference("NO.").ok());
  const absl::Status status = evaluator->CheckReference("maybe");
  EXPECT_EQ(GetReason(status), Reason::kLabelUnknown);
  EXPECT_THAT(status.message(), HasSubstr("`maybe`"));
  std::string longest;
  for (int i = 0; i < 100; ++i) longest += "é";
  EXPECT_THAT(evaluator->CheckReference("a" + longest).message(), HasSubstr("é..."));
}

TEST(Seq2SeqEvaluator, NoRowsGiveZeros) {
  const Seq2SeqScores scores = Score({.labels = {"a"}}, {});
  EXPECT_EQ(scores.examples, 0);
  for (const NamedMetric& metric : scores.metrics) EXPECT_EQ(metric.value, 0) << metric.name;
}

}  // namespace
}  // namespace tenon::engine
