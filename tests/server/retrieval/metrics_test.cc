#include "server/retrieval/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tenon::server {
namespace {

// Graded judgements, one document that was judged and is not relevant, and one relevant document that no run finds.
const Judgements kJudged = {{"a", 2}, {"b", 1}, {"c", 0}, {"d", 1}, {"never", 3}};

TEST(RetrievalMetricsTest, NdcgHasLinearGainAndTheIdealOfAllJudged) {
  // Gains of the ranking: c 0, a 2, x 0, b 1.
  const std::vector<std::string> ranking = {"c", "a", "x", "b"};
  const double dcg = 2 / std::log2(3.0) + 1 / std::log2(5.0);
  const double ideal = 3 / std::log2(2.0) + 2 / std::log2(3.0) + 1 / std::log2(4.0) + 1 / std::log2(5.0);
  EXPECT_NEAR(Ndcg(ranking, kJudged, 10), dcg / ideal, 1e-12);
  EXPECT_NEAR(Ndcg(ranking, kJudged, 2), (2 / std::log2(3.0)) / (3 + 2 / std::log2(3.0)), 1e-12);
  EXPECT_EQ(Ndcg(ranking, kJudged, 1), 0);
  EXPECT_NEAR(Ndcg({"never", "a", "b", "d"}, kJudged, 4), 1, 1e-12);
}

TEST(RetrievalMetricsTest, RecallDividesByAllRelevant) {
  const std::vector<std::string> ranking = {"c", "a", "x", "b"};
  EXPECT_EQ(Recall(ranking, kJudged, 1), 0);
  EXPECT_EQ(Recall(ranking, kJudged, 2), 0.25);
  EXPECT_EQ(Recall(ranking, kJudged, 100), 0.5);
}

TEST(RetrievalMetricsTest, ReciprocalRankIsCutAtK) {
  const std::vector<std::string> ranking = {"c", "x", "b", "a"};
  EXPECT_EQ(ReciprocalRank(ranking, kJudged, 2), 0);
  EXPECT_EQ(ReciprocalRank(ranking, kJudged, 3), 1.0 / 3);
}

TEST(RetrievalMetricsTest, NothingRelevantAndNothingFoundAreZero) {
  EXPECT_EQ(Ndcg({"a"}, {{"a", 0}, {"b", -1}}, 10), 0);
  EXPECT_EQ(Recall({"a"}, {{"a", 0}}, 10), 0);
  EXPECT_EQ(ReciprocalRank({"a"}, {}, 10), 0);
  EXPECT_EQ(Ndcg({}, kJudged, 10), 0);
  EXPECT_EQ(Recall({}, kJudged, 10), 0);
}

TEST(RetrievalMetricsTest, NegativeJudgementsGainNothing) {
  EXPECT_EQ(Ndcg({"bad", "good"}, {{"bad", -2}, {"good", 1}}, 10), 1 / std::log2(3.0));
}

TEST(RetrievalMetricsTest, TiesAreOrderedByIdDescendingAsTrecEvalDoes) {
  EXPECT_EQ(TrecOrder({{"a", 1}, {"c", 2}, {"b", 1}, {"d", 0.5}}), (std::vector<std::string>{"c", "b", "a", "d"}));
  EXPECT_EQ(TrecOrder({{"10", 1}, {"9", 1}}), (std::vector<std::string>{"9", "10"}));
}

TEST(RetrievalMetricsTest, MeansAreOverQueries) {
  RetrievalScores scores({1, 2});
  scores.Add({"a", "b"}, {{"a", 1}});
  scores.Add({"a", "b"}, {{"b", 1}});
  scores.Add({}, {{"b", 1}});
  EXPECT_EQ(scores.queries(), 3);
  const auto means = scores.Means();
  ASSERT_EQ(means.size(), 6u);
  EXPECT_EQ(means[0].first, "ndcg@1");
  EXPECT_NEAR(means[0].second, 1.0 / 3, 1e-12);
  EXPECT_EQ(means[4].first, "recall@2");
  EXPECT_NEAR(means[4].second, 2.0 / 3, 1e-12);
  EXPECT_EQ(means[5].first, "mrr@2");
  EXPECT_NEAR(means[5].second, 1.5 / 3, 1e-12);
}

}  // namespace
}  // namespace tenon::server
