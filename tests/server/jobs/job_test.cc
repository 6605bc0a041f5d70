#include "server/jobs/job.h"

#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "tests/server/jobs/job_builder.h"

namespace tenon::server {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

class JobTest : public testing::Test {
 protected:
  // Does what a change returned: it must have worked.
  void Do(const absl::StatusOr<JobEvents>& events) {
    ASSERT_TRUE(events.ok()) << events.status();
    history_.insert(history_.end(), events->begin(), events->end());
  }
  void Queue() {
    Do(StartJob(job_, kNow));
    Do(QueueJob(job_, kNow));
  }
  void Run() {
    Queue();
    Do(ClaimJob(job_, "s1", "worker-1", kNow));
  }
  internal::v1::ReportJobRequest NewReport(int64_t term) { return tenon::server::NewReport(job_, term); }
  internal::v1::ReportJobRequest Success(int64_t term) {
    auto report = NewReport(term);
    report.mutable_finetune_success()->mutable_result()->set_total_steps(10);
    return report;
  }
  internal::v1::ReportJobRequest CheckpointAt(int64_t term, int64_t step) {
    auto report = NewReport(term);
    report.mutable_checkpoint()->set_step(step);
    report.mutable_checkpoint()->add_files()->set_sha256("d" + std::to_string(step));
    return report;
  }

  JobRecord job_ = NewFinetune();
  JobEvents history_;
};

TEST_F(JobTest, RunsToSuccess) {
  Run();
  EXPECT_EQ(JobTerm(job_), 1);
  EXPECT_EQ(job_.finetune().worker(), "worker-1");
  EXPECT_EQ(job_.finetune().start_time().seconds(), 1'700'000'000);
  Do(ApplyReport(job_, Success(1), kNow + absl::Seconds(5)));
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job_.finetune().result().total_steps(), 10);
  EXPECT_EQ(job_.finetune().finish_time().seconds(), 1'700'000'005);
  EXPECT_EQ(Replay(history_), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobTest, ASuccessThatCannotBeKeptFailsTheJobOnce) {
  Run();
  const absl::Status why = TenonError(Reason::kAlreadyExists, "the name is taken", "adapter");
  EXPECT_EQ(GetReason(RefuseSuccess(job_, Success(2), why, kNow).status()), Reason::kStaleTerm);
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_RUNNING);
  Do(RefuseSuccess(job_, Success(1), why, kNow));
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_FAILED);
  EXPECT_EQ(Replay(history_), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job_.finetune().error().message(), "the name is taken");
  const std::string before = job_.SerializeAsString();
  // The report that comes again, however it would be judged now.
  EXPECT_TRUE(RefuseSuccess(job_, Success(1), why, kNow)->empty());
  EXPECT_TRUE(ApplyReport(job_, Success(1), kNow)->empty());
  EXPECT_EQ(job_.SerializeAsString(), before);
}

TEST_F(JobTest, ARetriedCompletionIsNoError) {
  Run();
  Do(ApplyReport(job_, Success(1), kNow));
  const std::string before = job_.SerializeAsString();
  auto again = Success(1);
  again.set_session("another");  // the link was made anew
  const auto events = ApplyReport(job_, again, kNow);
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_TRUE(events->empty());
  EXPECT_EQ(job_.SerializeAsString(), before);
}

TEST_F(JobTest, AnotherCompletionAfterTheFirstIsStale) {
  Run();
  Do(ApplyReport(job_, Success(1), kNow));
  auto failure = NewReport(1);
  failure.mutable_failure()->set_reason("INTERNAL");
  EXPECT_EQ(GetReason(ApplyReport(job_, failure, kNow).status()), Reason::kStaleTerm);
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobTest, ReportsOfAnOldTermChangeNothing) {
  Run();
  Do(LoseJob(job_, 1, 3, kNow));
  Do(ClaimJob(job_, "s2", "worker-2", kNow));
  const std::string before = job_.SerializeAsString();
  EXPECT_EQ(GetReason(ApplyReport(job_, Success(1), kNow).status()), Reason::kStaleTerm);
  EXPECT_EQ(GetReason(ApplyReport(job_, CheckpointAt(1, 5), kNow).status()), Reason::kStaleTerm);
  auto progress = NewReport(1);
  progress.mutable_progress()->set_phase(v1::JOB_PHASE_TRAINING);
  EXPECT_EQ(GetReason(ApplyReport(job_, progress, kNow).status()), Reason::kStaleTerm);
  EXPECT_EQ(job_.SerializeAsString(), before);
}

TEST_F(JobTest, AReportWhileQueuedAgainIsStaleThoughTheTermIsTheSame) {
  Run();
  Do(LoseJob(job_, 1, 3, kNow));
  EXPECT_EQ(JobTerm(job_), 1);
  EXPECT_EQ(GetReason(ApplyReport(job_, Success(1), kNow).status()), Reason::kStaleTerm);
}

TEST_F(JobTest, GoesOnFromItsCheckpoint) {
  Run();
  Do(ApplyReport(job_, CheckpointAt(1, 50), kNow));
  Do(LoseJob(job_, 1, 3, kNow));
  EXPECT_EQ(job_.finetune().recoveries(), 1);
  EXPECT_FALSE(job_.finetune().has_resumed_from_step());
  Do(ClaimJob(job_, "s2", "worker-2", kNow + absl::Seconds(9)));
  EXPECT_EQ(job_.checkpoint().step(), 50);
  EXPECT_EQ(job_.finetune().resumed_from_step(), 50);
  EXPECT_EQ(JobTerm(job_), 2);
  EXPECT_EQ(job_.finetune().start_time().seconds(), 1'700'000'000) << "when it first started";
}

TEST_F(JobTest, ACheckpointNeverGoesBack) {
  Run();
  Do(ApplyReport(job_, CheckpointAt(1, 50), kNow));
  EXPECT_EQ(GetReason(ApplyReport(job_, CheckpointAt(1, 40), kNow).status()), Reason::kFieldInvalid);
  EXPECT_EQ(job_.checkpoint().step(), 50);
}

TEST_F(JobTest, TheThirdLossFailsIt) {
  Queue();
  for (int loss = 1; loss <= 3; ++loss) {
    Do(ClaimJob(job_, "s", "w", kNow));
    Do(LoseJob(job_, loss, 3, kNow));
    EXPECT_EQ(JobStateOf(job_), loss < 3 ? v1::JOB_STATE_QUEUED : v1::JOB_STATE_FAILED);
  }
  EXPECT_EQ(job_.finetune().error().code(), static_cast<int>(absl::StatusCode::kAborted));
  EXPECT_NE(history_.back().state_change().reason().find("3 times"), std::string::npos);
}

TEST_F(JobTest, ALossIsCountedOnce) {
  Run();
  Do(LoseJob(job_, 1, 3, kNow));
  EXPECT_EQ(GetReason(LoseJob(job_, 1, 3, kNow).status()), Reason::kStaleTerm);
  EXPECT_EQ(job_.losses(), 1);
}

TEST_F(JobTest, AClaimTakenBackIsNoLoss) {
  Run();
  EXPECT_EQ(GetReason(UnclaimJob(job_, 2, kNow).status()), Reason::kStaleTerm);
  Do(UnclaimJob(job_, 1, kNow));
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(job_.losses(), 0);
  Do(ClaimJob(job_, "s", "w", kNow));
  Do(RequestCancel(job_, kNow));
  Do(UnclaimJob(job_, 2, kNow));
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_CANCELLED);
}

TEST_F(JobTest, HandingBackIsNoLoss) {
  Run();
  auto stopped = NewReport(1);
  stopped.mutable_stopped();
  Do(ApplyReport(job_, stopped, kNow));
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(job_.losses(), 0);
}

TEST_F(JobTest, CancelsAtOnceWhileQueued) {
  Queue();
  Do(RequestCancel(job_, kNow));
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_CANCELLED);
  EXPECT_FALSE(ClaimJob(job_, "s", "w", kNow).ok());
  EXPECT_TRUE(RequestCancel(job_, kNow).empty()) << "a final job stays as it is";
}

TEST_F(JobTest, CancelsARunningJobWhenItsWorkerStops) {
  Run();
  Do(RequestCancel(job_, kNow));
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_RUNNING);
  EXPECT_TRUE(RequestCancel(job_, kNow).empty());
  auto stopped = NewReport(1);
  stopped.mutable_stopped();
  Do(ApplyReport(job_, stopped, kNow));
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_CANCELLED);
}

TEST_F(JobTest, CancelsARunningJobWhenItsWorkerIsLost) {
  Run();
  Do(RequestCancel(job_, kNow));
  Do(LoseJob(job_, 1, 3, kNow));
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_CANCELLED);
}

TEST_F(JobTest, ASuccessThatWasFasterThanTheCancelCounts) {
  Run();
  Do(RequestCancel(job_, kNow));
  Do(ApplyReport(job_, Success(1), kNow));
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(JobTest, AFailureKeepsReasonAndMessage) {
  Run();
  auto report = NewReport(1);
  report.mutable_failure()->set_code(9);
  report.mutable_failure()->set_reason("LOSS_NOT_FINITE");
  report.mutable_failure()->set_message("the loss became NaN at step 7");
  Do(ApplyReport(job_, report, kNow));
  EXPECT_EQ(JobStateOf(job_), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job_.finetune().error().message(), "the loss became NaN at step 7");
  EXPECT_EQ(job_.finetune().error().code(), 9);
  EXPECT_EQ(job_.finetune().error().details_size() > 0, true);
}

TEST_F(JobTest, PhasesAreToldOnce) {
  Run();
  auto progress = NewReport(1);
  progress.mutable_progress()->set_phase(v1::JOB_PHASE_TRAINING);
  const auto first = ApplyReport(job_, progress, kNow);
  ASSERT_EQ(first->size(), 1u);
  EXPECT_EQ(first->front().state_change().phase(), v1::JOB_PHASE_TRAINING);
  EXPECT_TRUE(ApplyReport(job_, progress, kNow)->empty());
}

TEST_F(JobTest, AResumedRunDoesNotRepeatMetrics) {
  const auto metrics = [&](int64_t term, int64_t step, const std::string& kind = "train") {
    auto report = NewReport(term);
    report.mutable_metrics()->set_step(step);
    report.mutable_metrics()->set_kind(kind);
    const auto events = ApplyReport(job_, report, kNow);
    EXPECT_TRUE(events.ok()) << events.status();
    return static_cast<int>(events->size());
  };
  Run();
  EXPECT_EQ(metrics(1, 10), 1);
  EXPECT_EQ(metrics(1, 20), 1);
  EXPECT_EQ(metrics(1, 20), 0) << "a retry";
  Do(LoseJob(job_, 1, 3, kNow));
  Do(ClaimJob(job_, "s2", "w", kNow));
  EXPECT_EQ(metrics(2, 15), 0) << "in the history already";
  EXPECT_EQ(metrics(2, 20), 0);
  EXPECT_EQ(metrics(2, 20, "validation"), 1) << "kinds are apart";
  EXPECT_EQ(metrics(2, 25), 1);
}

TEST_F(JobTest, IllegalMovesAreRefusedAndChangeNothing) {
  Do(StartJob(job_, kNow));
  const std::string before = job_.SerializeAsString();
  EXPECT_FALSE(ClaimJob(job_, "s", "w", kNow).ok());
  EXPECT_FALSE(LoseJob(job_, 0, 3, kNow).ok());
  EXPECT_FALSE(ApplyReport(job_, Success(0), kNow).ok());
  EXPECT_EQ(job_.SerializeAsString(), before);
  Do(QueueJob(job_, kNow));
  EXPECT_FALSE(QueueJob(job_, kNow).ok());
}

TEST(EvalJobTest, ResultsGetTheirModels) {
  JobRecord job = NewClassificationEval(2);
  StartJob(job, kNow);
  ASSERT_TRUE(QueueJob(job, kNow).ok());
  ASSERT_TRUE(ClaimJob(job, "s", "w", kNow).ok());
  auto report = NewReport(job, 1);
  report.mutable_eval_success()->add_results()->set_examples(5);
  EXPECT_EQ(GetReason(ApplyReport(job, report, kNow).status()), Reason::kFieldInvalid) << "one result is missing";
  report.mutable_eval_success()->add_results()->set_examples(6);
  ASSERT_TRUE(ApplyReport(job, report, kNow).ok());
  EXPECT_EQ(JobStateOf(job), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.eval().results(1).model().adapter(), "adapters/a1");
  EXPECT_EQ(job.eval().results(1).examples(), 6);
}

TEST(EvalJobTest, HasNoCheckpointsAndNoAdapters) {
  JobRecord job = NewClassificationEval(1);
  StartJob(job, kNow);
  ASSERT_TRUE(QueueJob(job, kNow).ok());
  ASSERT_TRUE(ClaimJob(job, "s", "w", kNow).ok());
  auto checkpoint = NewReport(job, 1), success = NewReport(job, 1);
  checkpoint.mutable_checkpoint()->set_step(1);
  success.mutable_finetune_success();
  EXPECT_FALSE(ApplyReport(job, checkpoint, kNow).ok());
  EXPECT_FALSE(ApplyReport(job, success, kNow).ok());
  EXPECT_EQ(JobStateOf(job), v1::JOB_STATE_RUNNING);
}

}  // namespace
}  // namespace tenon::server
