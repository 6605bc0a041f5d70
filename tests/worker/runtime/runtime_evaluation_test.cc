// Evaluation jobs of classifiers on the device loop, beside inference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "tests/worker/runtime/runtime_fixture.h"

namespace tenon::runtime {
namespace {

using tenon::testing::FakeEngine;
using ::testing::Pair;

class RuntimeEvalTest : public RuntimeFixture {
 protected:
  using Scores = std::vector<std::pair<formats::TenonConfig, HeadScores>>;
  // `correct` of `rows` rows carry label-3.
  static EvalJob Job(std::vector<std::string> adapters, int rows, int correct) {
    EvalJob job{.id = "e", .base_digest = "base", .adapter_digests = std::move(adapters)};
    for (int i = 0; i < rows; ++i) {
      job.rows.push_back({absl::StrCat(i, std::string(i % 9, ' '), " x"), {}});
      job.row_labels.push_back({i < correct ? "label-3" : "label-4"});
    }
    return job;
  }
  absl::StatusOr<Scores> Evaluate(EvalJob job) {
    absl::Notification done;
    absl::StatusOr<Scores> result = absl::UnknownError("");
    EvalCallbacks callbacks;
    callbacks.progress = [this](int64_t done, int64_t total) { progress_.emplace_back(done, total); };
    callbacks.done = [&](absl::StatusOr<Scores> scores) {
      result = std::move(scores);
      done.Notify();
    };
    if (const auto status = runtime_->StartEvaluation(std::move(job), callbacks); !status.ok()) return status;
    done.WaitForNotification();
    return result;
  }
  std::vector<std::pair<int64_t, int64_t>> progress_;
};

TEST_F(RuntimeEvalTest, ScoresEveryAdapterOnEveryRow) {
  options_.max_batch_tokens = 64;
  options_.device_adapters = 1;
  Start();
  const auto scores = Evaluate(Job({"head-3", "head-4"}, 100, 70));
  ASSERT_TRUE(scores.ok()) << scores.status();
  ASSERT_EQ(scores->size(), 2u);
  EXPECT_DOUBLE_EQ(std::get<engine::ClassificationScores>((*scores)[0].second).accuracy, 0.7);
  EXPECT_DOUBLE_EQ(std::get<engine::ClassificationScores>((*scores)[1].second).accuracy, 0.3);
  EXPECT_EQ(std::get<engine::ClassificationScores>((*scores)[0].second).rows, 100);
  EXPECT_EQ(std::get<engine::ClassificationScores>((*scores)[0].second).classes[3].support, 70);
  EXPECT_GT(progress_.size(), 4u);
  EXPECT_THAT(progress_.back(), Pair(200, 200));
}

TEST_F(RuntimeEvalTest, ManyAdaptersWithFewSlotsBesideInference) {
  options_.device_adapters = 2;
  Start();
  std::atomic<bool> stop{false};
  std::vector<std::thread> clients;
  for (int t = 0; t < 4; ++t) {
    clients.emplace_back([&, t] {
      while (!stop) {
        const auto reply = Call(Classify(absl::StrCat("head-", 10 + t), {"x"}));
        ASSERT_TRUE(reply.ok());
        ASSERT_EQ(Label(reply->rows[0]), 10 + t);
      }
    });
  }
  std::vector<std::string> adapters;
  for (int i = 0; i < 12; ++i) adapters.push_back(absl::StrCat("head-", i));
  const auto scores = Evaluate(Job(adapters, 30, 30));
  stop = true;
  for (std::thread& client : clients) client.join();
  ASSERT_TRUE(scores.ok()) << scores.status();
  for (int i = 0; i < 12; ++i)
    EXPECT_DOUBLE_EQ(std::get<engine::ClassificationScores>((*scores)[i].second).accuracy, i == 3 ? 1 : 0);
}

TEST_F(RuntimeEvalTest, ALabelThatTheAdapterDoesNotKnowNamesTheRow) {
  Start();
  EvalJob job = Job({"head-3"}, 10, 10);
  job.row_labels[6] = {"weather"};
  const auto scores = Evaluate(std::move(job));
  EXPECT_EQ(GetReason(scores.status()), Reason::kLabelUnknown);
  EXPECT_EQ(GetField(scores.status()), "row 7");
}

TEST_F(RuntimeEvalTest, RowsOfManyOrNoLabelsAreRefusedByAnAdapterOfOne) {
  Start();
  for (const std::vector<std::string>& labels : {std::vector<std::string>{}, {"label-1", "label-2"}}) {
    EvalJob job = Job({"head-3"}, 10, 10);
    job.row_labels[6] = labels;
    const auto scores = Evaluate(std::move(job));
    EXPECT_EQ(GetReason(scores.status()), Reason::kDatasetInvalid) << scores.status();
    EXPECT_EQ(GetField(scores.status()), "row 7");
  }
}

TEST_F(RuntimeEvalTest, ARegressionNeedsANumberForEachOfItsOutputs) {
  Start();
  EvalJob job = Job({"number-3"}, 10, 10);
  job.row_labels.assign(10, {});
  for (engine::LabelledText& row : job.rows) row.values.assign(tenon::testing::kFakeLabels, 0.5f);
  auto scores = Evaluate(job);
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_EQ(std::get<engine::RegressionScores>((*scores)[0].second).rows, 10);
  job.rows[6].values.pop_back();
  scores = Evaluate(std::move(job));
  EXPECT_EQ(GetReason(scores.status()), Reason::kDatasetInvalid) << scores.status();
  EXPECT_EQ(GetField(scores.status()), "row 7");
}

TEST_F(RuntimeEvalTest, NoScoreIsMadeOfNumbersThatAreNotFinite) {
  Start();
  EvalJob job = Job({"head-3"}, 10, 10);
  job.rows[6].text = absl::StrCat(tenon::testing::kFakeOverflow);
  const auto scores = Evaluate(std::move(job));
  EXPECT_EQ(GetReason(scores.status()), Reason::kResultNotFinite) << scores.status();
  EXPECT_EQ(GetField(scores.status()), "row 7");
}

TEST_F(RuntimeEvalTest, FailsWithItsAdapter) {
  Start();
  EXPECT_EQ(GetReason(Evaluate(Job({"head-3", "broken"}, 10, 10)).status()), Reason::kAdapterInvalid);
  EXPECT_EQ(GetReason(Evaluate(Job({"plain"}, 10, 10)).status()), Reason::kNoClassifier);
}

TEST_F(RuntimeEvalTest, CancelStopsIt) {
  Gate gate;
  FakeEngine::Get().on_infer = [&](const auto&) {
    gate.Pass();
    return absl::OkStatus();
  };
  options_.max_batch_tokens = 8;
  Start();
  std::thread evaluation([&] { EXPECT_EQ(GetReason(Evaluate(Job({"head-3"}, 500, 1)).status()), Reason::kCancelled); });
  gate.WaitUntilReached();
  runtime_->CancelJob("e");
  gate.Open();
  evaluation.join();
  EXPECT_LE(progress_.size(), 1u);
}

}  // namespace
}  // namespace tenon::runtime
