// A job from its queue to its end, on a worker that behaves.
#include <gmock/gmock.h>

#include "common/formats/status.h"
#include "tests/server/app_jobs/rig.h"

namespace tenon::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LifecycleTest : public Rig {
 protected:
  internal::v1::JobAssignment CreateAndAssign(const std::string& id = "j1") {
    Create(NewFinetune(id));
    Connect("s1");
    const auto sent = TakeSent();
    EXPECT_EQ(sent.size(), 1u);
    return sent.empty() ? internal::v1::JobAssignment() : sent[0].message.assign();
  }
  internal::v1::ReportJobRequest Checkpoint(int64_t term, int64_t step, const std::vector<v1::FileEntry>& files) {
    auto report = NewReport("s1", "finetuneJobs/j1", term);
    report.mutable_checkpoint()->set_step(step);
    for (const v1::FileEntry& file : files) *report.mutable_checkpoint()->add_files() = file;
    return report;
  }
};

TEST_F(LifecycleTest, TheAssignmentHasAllThatTheWorkerNeeds) {
  auto request = NewFinetune("j1");
  request.mutable_finetune_job()->set_validation_dataset("validation");
  Create(request);
  Connect("s1");
  const auto sent = TakeSent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].session, "s1");
  const internal::v1::JobAssignment& assign = sent[0].message.assign();
  EXPECT_EQ(assign.job(), "finetuneJobs/j1");
  EXPECT_EQ(assign.tenant(), "default");
  EXPECT_EQ(assign.term(), 1);
  EXPECT_EQ(assign.base_digest(), "b1");
  EXPECT_EQ(assign.finetune().spec().training().batch_size(), 8);
  EXPECT_THAT(assign.finetune().spec().labels(), ElementsAre("neg", "pos"));
  EXPECT_EQ(assign.finetune().train().format(), v1::DATASET_FORMAT_JSONL);
  EXPECT_TRUE(blobs_->Size(assign.finetune().train().sha256()).ok());
  EXPECT_TRUE(assign.finetune().has_validation());
  EXPECT_FALSE(assign.finetune().has_resume());
  const v1::FinetuneJob job = Get("j1");
  EXPECT_EQ(job.state(), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(job.progress().phase(), v1::JOB_PHASE_LOADING);
  EXPECT_EQ(job.worker(), "worker-s1");
  EXPECT_FALSE(job.has_queue());
}

TEST_F(LifecycleTest, WaitsForAWorkerThatHoldsItsBase) {
  Create(NewFinetune("j1"));
  loop_->Run([&] { jobs_->OnWorkerHello("s1", "w", {}); });
  Settle();
  EXPECT_THAT(TakeSent(), IsEmpty());
  EXPECT_EQ(Get("j1").queue().reason(), v1::WAITING_REASON_NO_WORKER);
  loop_->Run([&] { jobs_->OnBaseReady("s1", "another base"); });
  Settle();
  EXPECT_THAT(TakeSent(), IsEmpty());
  loop_->Run([&] { jobs_->OnBaseReady("s1", "b1"); });
  Settle();
  EXPECT_EQ(TakeSent().size(), 1u);
}

TEST_F(LifecycleTest, OneJobAWorkerAndTheNextWhenItIsDone) {
  CreateAndAssign("j1");
  Create(NewFinetune("j2"));
  EXPECT_THAT(TakeSent(), IsEmpty());
  EXPECT_EQ(Get("j2").queue().reason(), v1::WAITING_REASON_WORKERS_BUSY);
  EXPECT_EQ(jobs_->counts().running, 1);
  EXPECT_EQ(jobs_->counts().queued, 1);
  ASSERT_TRUE(ReportAndSettle(Success("s1", "finetuneJobs/j1", 1)).ok());
  const auto sent = TakeSent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].message.assign().job(), "finetuneJobs/j2");
}

TEST_F(LifecycleTest, JobsSpreadOverWorkers) {
  Create(NewFinetune("j1"));
  Create(NewFinetune("j2"));
  Connect("s1");
  Connect("s2");
  const auto sent = TakeSent();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_NE(sent[0].session, sent[1].session);
}

TEST_F(LifecycleTest, ProgressIsShownAndPhasesAreHistory) {
  CreateAndAssign();
  auto report = NewReport("s1", "finetuneJobs/j1", 1);
  report.mutable_progress()->set_phase(v1::JOB_PHASE_TRAINING);
  for (int step = 1; step <= 3; ++step) {
    report.mutable_progress()->set_done(step);
    report.mutable_progress()->set_total(9);
    report.mutable_progress()->set_loss(0.5);
    ASSERT_TRUE(jobs_->Report(report).ok());
  }
  const v1::FinetuneJob job = Get("j1");
  EXPECT_EQ(job.progress().done(), 3);
  EXPECT_EQ(job.progress().total(), 9);
  EXPECT_EQ(job.progress().phase(), v1::JOB_PHASE_TRAINING);
  EXPECT_THAT(History("finetuneJobs/j1"), ElementsAre("VALIDATING", "QUEUED", "RUNNING/LOADING", "RUNNING/TRAINING"));
}

TEST_F(LifecycleTest, SuccessMakesARevisionInTheSameBreath) {
  CreateAndAssign();
  const auto report = Success("s1", "finetuneJobs/j1", 1);
  ASSERT_TRUE(jobs_->Report(report).ok());
  const v1::FinetuneJob job = Get("j1");
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.result().best_step(), 7);
  const auto model = models_->ResolveAdapter("default", "news", "adapter");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(job.result().adapter_revision(), "adapters/news/revisions/" + model->version.revision());
  EXPECT_THAT(model->labels, ElementsAre("neg", "pos"));
  EXPECT_EQ(model->version.base_digest(), "b1");
  // The answer was lost on the way: the worker says it again.
  EXPECT_TRUE(jobs_->Report(report).ok());
  EXPECT_EQ(Get("j1").SerializeAsString(), job.SerializeAsString());
  EXPECT_THAT(History("finetuneJobs/j1"), ElementsAre("VALIDATING", "QUEUED", "RUNNING/LOADING", "SUCCEEDED"));
}

TEST_F(LifecycleTest, ARetriedSuccessIsKnownAfterARestart) {
  CreateAndAssign();
  const auto report = Success("s1", "finetuneJobs/j1", 1);
  ASSERT_TRUE(jobs_->Report(report).ok());
  Restart();
  EXPECT_TRUE(jobs_->Report(report).ok());
  auto other = report;
  other.set_term(2);
  EXPECT_EQ(GetReason(jobs_->Report(other)), Reason::kStaleTerm);
}

TEST_F(LifecycleTest, ASuccessWithoutItsFilesIsRefused) {
  CreateAndAssign();
  auto report = Success("s1", "finetuneJobs/j1", 1);
  v1::FileEntry& file = *report.mutable_finetune_success()->mutable_files(0);
  file.set_size_bytes(file.size_bytes() + 1);
  EXPECT_EQ(GetReason(jobs_->Report(report)), Reason::kDigestMismatch);
  file.set_sha256(Sha256Hex("never published"));
  EXPECT_EQ(GetReason(jobs_->Report(report)), Reason::kNotFound);
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_RUNNING);
  EXPECT_FALSE(models_->ResolveAdapter("default", "news", "adapter").ok());
}

TEST_F(LifecycleTest, AFailureKeepsItsReason) {
  CreateAndAssign();
  auto report = NewReport("s1", "finetuneJobs/j1", 1);
  report.mutable_failure()->set_code(9);
  report.mutable_failure()->set_reason("LOSS_NOT_FINITE");
  report.mutable_failure()->set_message("the loss is NaN at step 3");
  ASSERT_TRUE(jobs_->Report(report).ok());
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(Get("j1").error().message(), "the loss is NaN at step 3");
  EXPECT_EQ(jobs_->counts().running, 0);
}

TEST_F(LifecycleTest, MetricsAndNoticesAreHistoryInOrder) {
  CreateAndAssign();
  auto metrics = NewReport("s1", "finetuneJobs/j1", 1), notice = NewReport("s1", "finetuneJobs/j1", 1);
  metrics.mutable_metrics()->set_step(10);
  metrics.mutable_metrics()->set_kind("train");
  notice.mutable_notice()->set_message("two rows were cut");
  ASSERT_TRUE(jobs_->Report(metrics).ok());
  ASSERT_TRUE(jobs_->Report(notice).ok());
  const auto events = *jobs_->Events("default", "finetuneJobs/j1", 3, 10);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].sequence(), 4);
  EXPECT_EQ(events[0].metrics().step(), 10);
  EXPECT_EQ(events[1].notice().message(), "two rows were cut");
}

TEST_F(LifecycleTest, CancelsAQueuedJobAtOnce) {
  Create(NewFinetune("j1"));
  EXPECT_EQ(jobs_->CancelFinetune("default", "j1")->state(), v1::JOB_STATE_CANCELLED);
  Connect("s1");
  EXPECT_THAT(TakeSent(), IsEmpty());
  EXPECT_EQ(jobs_->CancelFinetune("default", "j1")->state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(LifecycleTest, CancelsARunningJobThroughItsWorker) {
  CreateAndAssign();
  EXPECT_EQ(jobs_->CancelFinetune("default", "finetuneJobs/j1")->state(), v1::JOB_STATE_RUNNING);
  Settle();
  const auto sent = TakeSent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].message.cancel().job(), "finetuneJobs/j1");
  EXPECT_EQ(sent[0].message.cancel().term(), 1);
  auto stopped = NewReport("s1", "finetuneJobs/j1", 1);
  stopped.mutable_stopped();
  ASSERT_TRUE(jobs_->Report(stopped).ok());
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(jobs_->CancelFinetune("default", "j1")->state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(LifecycleTest, OldCheckpointsAreDeletedAndSharedFilesKept) {
  Stop();
  options_.tick = absl::Milliseconds(1);
  OpenStore();
  Start();
  CreateAndAssign();
  const v1::FileEntry old_state = PutBlob("state", "step 50"), new_state = PutBlob("state", "step 100");
  // Already the bytes that will be published.
  const v1::FileEntry weights = PutBlob("adapter_model.safetensors", "weights");
  ASSERT_TRUE(jobs_->Report(Checkpoint(1, 50, {old_state, weights})).ok());
  ASSERT_TRUE(jobs_->Report(Checkpoint(1, 100, {new_state, weights})).ok());
  EXPECT_TRUE(HasBlob(old_state)) << "not at once: another job may be about to refer to it";
  clock_.Advance(options_.blob_grace);
  while (HasBlob(old_state)) loop_->Run([] {});
  EXPECT_TRUE(HasBlob(new_state));
  EXPECT_TRUE(HasBlob(weights));
  ASSERT_TRUE(jobs_->Report(Success("s1", "finetuneJobs/j1", 1)).ok());
  clock_.Advance(options_.blob_grace);
  while (HasBlob(new_state)) loop_->Run([] {});
  EXPECT_TRUE(HasBlob(weights)) << "the adapter's";
}

TEST_F(LifecycleTest, AnnouncesChangesToWatchersUntilTheyLeave) {
  Create(NewFinetune("j1"));
  Create(NewFinetune("j2"));
  std::atomic<int> calls = 0, others = 0;
  const uint64_t watch = jobs_->Watch("default", "finetuneJobs/j1", [&] { ++calls; });
  jobs_->Watch("default", "finetuneJobs/j2", [&] { ++others; });
  Connect("s1");
  EXPECT_EQ(calls, 1) << "it runs";
  auto notice = NewReport("s1", "finetuneJobs/j1", 1);
  notice.mutable_notice()->set_message("hello");
  ASSERT_TRUE(jobs_->Report(notice).ok());
  EXPECT_EQ(calls, 2);
  jobs_->Unwatch(watch);
  notice.mutable_notice()->set_message("again");
  ASSERT_TRUE(jobs_->Report(notice).ok());
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(others, 0);
}

TEST_F(LifecycleTest, ProgressIsToldAtMostOnceAnInterval) {
  Stop();
  options_.watch_interval = absl::Hours(1);
  OpenStore();
  Start();
  CreateAndAssign();
  std::atomic<int> calls = 0;
  const uint64_t watch = jobs_->Watch("default", "finetuneJobs/j1", [&] { ++calls; });
  auto report = NewReport("s1", "finetuneJobs/j1", 1);
  for (int step = 1; step <= 100; ++step) {
    report.mutable_progress()->set_done(step);
    ASSERT_TRUE(jobs_->Report(report).ok());
  }
  EXPECT_EQ(calls, 1);
  jobs_->Unwatch(watch);
}

TEST_F(LifecycleTest, TheLastProgressIsToldToo) {
  Stop();
  options_.watch_interval = absl::Milliseconds(1);
  OpenStore();
  Start();
  CreateAndAssign();
  absl::Notification saw_last;
  std::atomic<int> done = 0;
  const uint64_t watch = jobs_->Watch("default", "finetuneJobs/j1", [&] {
    if (done == 100 && !saw_last.HasBeenNotified()) saw_last.Notify();
  });
  auto report = NewReport("s1", "finetuneJobs/j1", 1);
  for (int step = 1; step <= 100; ++step) {
    report.mutable_progress()->set_done(step);
    done = step;
    ASSERT_TRUE(jobs_->Report(report).ok());
  }
  EXPECT_TRUE(saw_last.WaitForNotificationWithTimeout(absl::Seconds(30)));
  jobs_->Unwatch(watch);
}

TEST_F(LifecycleTest, TermsAreCheckedForPublishing) {
  EXPECT_EQ(GetReason(jobs_->CheckTerm("finetuneJobs/j1", 1)), Reason::kStaleTerm);
  CreateAndAssign();
  EXPECT_TRUE(jobs_->CheckTerm("finetuneJobs/j1", 1).ok());
  EXPECT_EQ(GetReason(jobs_->CheckTerm("finetuneJobs/j1", 2)), Reason::kStaleTerm);
}

}  // namespace
}  // namespace tenon::server
