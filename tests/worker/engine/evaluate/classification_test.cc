#include "worker/engine/evaluate/classification.h"

#include <gtest/gtest.h>

namespace tenon::engine {
namespace {

std::vector<float> Peak(int64_t labels, int64_t at) {
  std::vector<float> probabilities(labels, 0.1f);
  probabilities[at] = 0.7f;
  return probabilities;
}

// Expected numbers are scikit-learn's for y_true = 0 0 1 1 2 2 2 and y_pred = 0 1 1 1 2 0 2 over labels 0..3.
TEST(ClassificationTest, SingleLabelScores) {
  ClassificationEvaluator evaluator(4, false);
  const std::vector<int64_t> truth = {0, 0, 1, 1, 2, 2, 2}, predicted = {0, 1, 1, 1, 2, 0, 2};
  for (size_t i = 0; i < truth.size(); ++i) evaluator.Add({truth[i]}, Peak(4, predicted[i]));
  const ClassificationScores scores = evaluator.Finish();
  EXPECT_EQ(scores.rows, 7);
  EXPECT_DOUBLE_EQ(scores.accuracy, 5.0 / 7);
  EXPECT_DOUBLE_EQ(scores.micro_f1, 5.0 / 7);
  EXPECT_NEAR(scores.macro_f1, (0.5 + 0.8 + 0.8 + 0.0) / 4, 1e-12);
  EXPECT_NEAR(scores.weighted_f1, (0.5 * 2 + 0.8 * 2 + 0.8 * 3) / 7, 1e-12);
  EXPECT_EQ(scores.confusion, (std::vector<int64_t>{1, 1, 0, 0, 0, 2, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0}));
  EXPECT_DOUBLE_EQ(scores.classes[1].precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores.classes[1].recall, 1.0);
  EXPECT_EQ(scores.classes[2].support, 3);
}

TEST(ClassificationTest, ARowWithoutAnyPredictionIsWrongAndInNoColumn) {
  ClassificationEvaluator evaluator(2, false);
  evaluator.AddChoice(0, 0);
  evaluator.AddChoice(0, -1);
  evaluator.AddChoice(1, 0);
  const ClassificationScores scores = evaluator.Finish();
  EXPECT_EQ(scores.rows, 3);
  EXPECT_DOUBLE_EQ(scores.accuracy, 1.0 / 3);
  EXPECT_EQ(scores.confusion, (std::vector<int64_t>{1, 0, 1, 0}));
  EXPECT_DOUBLE_EQ(scores.classes[0].recall, 0.5);
  EXPECT_DOUBLE_EQ(scores.classes[0].precision, 0.5);
  EXPECT_EQ(scores.classes[0].support, 2);
}

TEST(ClassificationTest, LabelThatNeverOccursCountsAsZero) {
  ClassificationEvaluator evaluator(3, false);
  evaluator.Add({0}, Peak(3, 0));
  evaluator.Add({1}, Peak(3, 1));
  const ClassificationScores scores = evaluator.Finish();
  EXPECT_DOUBLE_EQ(scores.accuracy, 1);
  EXPECT_DOUBLE_EQ(scores.macro_f1, 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores.classes[2].f1, 0);
}

TEST(ClassificationTest, FirstOfEqualsWins) {
  ClassificationEvaluator evaluator(3, false);
  evaluator.Add({1}, {0.2f, 0.4f, 0.4f});
  EXPECT_DOUBLE_EQ(evaluator.Finish().accuracy, 1);
}

// scikit-learn on indicator matrices: true [101, 010, 000, 110], predicted [101, 011, 000, 100].
TEST(ClassificationTest, MultiLabelScores) {
  ClassificationEvaluator evaluator(3, true);
  evaluator.Add({0, 2}, {0.9f, 0.2f, 0.8f});
  evaluator.Add({1}, {0.5f, 0.6f, 0.7f});
  evaluator.Add({}, {0.1f, 0.1f, 0.1f});
  evaluator.Add({0, 1}, {0.8f, 0.3f, 0.1f});
  const ClassificationScores scores = evaluator.Finish();
  EXPECT_DOUBLE_EQ(scores.accuracy, 0.5);
  EXPECT_NEAR(scores.macro_f1, (1.0 + 2.0 / 3 + 2.0 / 3) / 3, 1e-12);
  EXPECT_NEAR(scores.micro_f1, 2.0 * 4 / (5 + 5), 1e-12);
  EXPECT_NEAR(scores.weighted_f1, (1.0 * 2 + 2.0 / 3 * 2 + 2.0 / 3) / 5, 1e-12);
  EXPECT_TRUE(scores.confusion.empty());
}

TEST(ClassificationTest, NoRows) {
  const ClassificationScores scores = ClassificationEvaluator(2, false).Finish();
  EXPECT_EQ(scores.rows, 0);
  EXPECT_DOUBLE_EQ(scores.accuracy, 0);
  EXPECT_DOUBLE_EQ(scores.macro_f1, 0);
}

}  // namespace
}  // namespace tenon::engine
