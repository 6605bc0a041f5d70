// Workers that are lost, come back, or lie; servers that start again.
#include <gmock/gmock.h>

#include "common/formats/status.h"
#include "tests/server/app_jobs/rig.h"

namespace tenon::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kJob[] = "finetuneJobs/j1";

class RecoveryTest : public Rig {
 protected:
  void CreateAndRun() {
    Create(NewFinetune("j1"));
    Connect("s1");
    ASSERT_EQ(TakeSent().size(), 1u);
  }
  void ReopenWithShortTick() {
    Stop();
    options_.tick = absl::Milliseconds(1);
    OpenStore();
    Start();
  }
};

TEST_F(RecoveryTest, ALostJobGoesOnElsewhereFromItsCheckpoint) {
  CreateAndRun();
  auto checkpoint = NewReport("s1", kJob, 1);
  checkpoint.mutable_checkpoint()->set_step(50);
  *checkpoint.mutable_checkpoint()->add_files() = PutBlob("state", "step 50");
  ASSERT_TRUE(jobs_->Report(checkpoint).ok());
  Lose("s1");
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(Get("j1").queue().reason(), v1::WAITING_REASON_RECOVERING);
  EXPECT_EQ(Get("j1").recoveries(), 1);
  Connect("s2");
  const auto sent = TakeSent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].session, "s2");
  EXPECT_EQ(sent[0].message.assign().term(), 2);
  EXPECT_EQ(sent[0].message.assign().finetune().resume().step(), 50);
  EXPECT_EQ(sent[0].message.assign().finetune().resume().files_size(), 1);
  EXPECT_EQ(Get("j1").resumed_from_step(), 50);
}

TEST_F(RecoveryTest, AZombieChangesNothing) {
  CreateAndRun();
  Lose("s1");
  Connect("s2");
  const std::string before = Get("j1").SerializeAsString();
  EXPECT_EQ(GetReason(jobs_->Report(Success("s1", kJob, 1))), Reason::kStaleTerm);
  auto progress = NewReport("s1", kJob, 1);
  progress.mutable_progress()->set_done(99);
  EXPECT_EQ(GetReason(jobs_->Report(progress)), Reason::kStaleTerm);
  EXPECT_EQ(GetReason(jobs_->CheckTerm(kJob, 1)), Reason::kStaleTerm);
  EXPECT_EQ(Get("j1").SerializeAsString(), before);
  EXPECT_FALSE(models_->ResolveAdapter("default", "news", "adapter").ok());
  EXPECT_TRUE(jobs_->Report(Success("s2", kJob, 2)).ok());
}

TEST_F(RecoveryTest, TheThirdLossFailsTheJob) {
  Create(NewFinetune("j1"));
  for (int i = 1; i <= 3; ++i) {
    Connect("s" + std::to_string(i));
    ASSERT_EQ(TakeSent().size(), 1u);
    Lose("s" + std::to_string(i));
  }
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(std::string(Get("j1").error().message()), testing::HasSubstr("3 times"));
  Connect("s4");
  EXPECT_THAT(TakeSent(), IsEmpty());
}

TEST_F(RecoveryTest, AWorkerThatReconnectsKeepsItsJob) {
  CreateAndRun();
  EXPECT_THAT(Connect("s1", {Hold(kJob, 1)}), IsEmpty());
  EXPECT_THAT(TakeSent(), IsEmpty());
  EXPECT_EQ(Get("j1").term(), 1);
  EXPECT_TRUE(jobs_->Report(Success("s1", kJob, 1)).ok());
}

TEST_F(RecoveryTest, AWorkerDropsWhatIsNoLongerItsOwn) {
  CreateAndRun();
  Lose("s1");
  Connect("s2");
  TakeSent();
  const auto drop = Connect("s1", {Hold(kJob, 1), Hold("finetuneJobs/unknown", 3)});
  ASSERT_EQ(drop.size(), 2u);
  EXPECT_EQ(drop[0].job(), kJob);
  EXPECT_EQ(Get("j1").term(), 2);
}

TEST_F(RecoveryTest, AWorkerThatHandsItsJobBackGetsNoOther) {
  CreateAndRun();
  Create(NewFinetune("j2"));
  auto stopped = NewReport("s1", kJob, 1);
  stopped.mutable_stopped();
  ASSERT_TRUE(ReportAndSettle(stopped).ok());
  EXPECT_THAT(TakeSent(), IsEmpty()) << "neither the same job nor the next";
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(Get("j1").queue().reason(), v1::WAITING_REASON_NO_WORKER);
  EXPECT_EQ(Get("j1").recoveries(), 0) << "handed back is not lost";
  Connect("s2");
  const auto sent = TakeSent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].session, "s2");
  EXPECT_EQ(sent[0].message.assign().job(), kJob);
}

TEST_F(RecoveryTest, AWorkerThatStoppedACancelledJobGoesOn) {
  CreateAndRun();
  Create(NewFinetune("j2"));
  ASSERT_TRUE(jobs_->CancelFinetune("default", "j1").ok());
  auto stopped = NewReport("s1", kJob, 1);
  stopped.mutable_stopped();
  TakeSent();
  ASSERT_TRUE(ReportAndSettle(stopped).ok());
  const auto sent = TakeSent();
  ASSERT_FALSE(sent.empty());
  EXPECT_EQ(sent.back().message.assign().job(), "finetuneJobs/j2");
}

TEST_F(RecoveryTest, AServerThatEndsAssignsNothing) {
  Create(NewFinetune("j1"));
  jobs_->Close();
  Connect("s1");
  EXPECT_THAT(TakeSent(), IsEmpty());
  Restart();
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(Get("j1").term(), 0);
}

TEST_F(RecoveryTest, AnAssignmentWithManyLabelsIsSmall) {
  std::string rows;
  std::vector<std::string> labels;
  for (int i = 0; i < 5000; ++i) {
    labels.push_back("a-label-with-a-long-name-" + std::to_string(10'000 + i));
    rows += "{\"text\":\"x\",\"label\":\"" + labels.back() + "\"}\n";
  }
  PutDataset("wide", rows, labels);
  auto request = NewFinetune("j1");
  request.mutable_finetune_job()->set_train_dataset("wide");
  EXPECT_EQ(Create(request).labels_size(), 5000);
  Connect("s1");
  const auto sent = TakeSent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_LT(sent[0].message.ByteSizeLong(), 64u << 10);
}

TEST_F(RecoveryTest, AnOldTermOfAJobThatItRunsAgainIsDropped) {
  CreateAndRun();
  Lose("s1");
  Connect("s1");
  ASSERT_EQ(TakeSent().size(), 1u);
  const auto drop = Connect("s1", {Hold(kJob, 1), Hold(kJob, 2)});
  ASSERT_EQ(drop.size(), 1u);
  EXPECT_EQ(drop[0].term(), 1);
  EXPECT_THAT(TakeSent(), IsEmpty());
}

TEST_F(RecoveryTest, AnAssignmentLostOnTheWayIsSentAgain) {
  CreateAndRun();
  Connect("s1", {});  // the same process, but it never got the job
  const auto sent = TakeSent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].message.assign().job(), kJob);
  EXPECT_EQ(sent[0].message.assign().term(), 1) << "the lease is the same";
}

TEST_F(RecoveryTest, ACancelLostOnTheWayIsSentAgain) {
  CreateAndRun();
  ASSERT_TRUE(jobs_->CancelFinetune("default", "j1").ok());
  Settle();
  TakeSent();
  Connect("s1", {Hold(kJob, 1)});
  const auto sent = TakeSent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].message.cancel().job(), kJob);
}

TEST_F(RecoveryTest, AMissedCancelComesBehindTheWelcome) {
  CreateAndRun();
  ASSERT_TRUE(jobs_->CancelFinetune("default", "j1").ok());
  Settle();
  TakeSent();
  loop_->Run([&] {
    jobs_->OnWorkerHello("s1", "worker-s1", {Hold(kJob, 1)});
    EXPECT_THAT(TakeSent(), IsEmpty()) << "the caller has not said welcome yet, and a worker hears nothing before it";
  });
  Settle();
  ASSERT_EQ(TakeSent().size(), 1u);
}

TEST_F(RecoveryTest, ACancelledJobWhoseWorkerIsLostIsCancelled) {
  CreateAndRun();
  ASSERT_TRUE(jobs_->CancelFinetune("default", "j1").ok());
  Lose("s1");
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(RecoveryTest, AJobWhoseWorkerIsLostWhileItsClaimIsCommittedIsQueuedAgain) {
  Create(NewFinetune("j1"));
  // Both on the loop before the claim's commit comes back to it.
  loop_->Run([&] {
    jobs_->OnWorkerHello("s1", "w", {});
    jobs_->OnBaseReady("s1", "b1");
    jobs_->OnWorkerLost("s1");
  });
  Settle();
  EXPECT_THAT(TakeSent(), IsEmpty());
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_QUEUED);
  Connect("s2");
  EXPECT_EQ(TakeSent().size(), 1u);
}

TEST_F(RecoveryTest, AJobThatItsWorkerNoLongerNamesIsLostBehindOneLease) {
  CreateAndRun();
  Beat("s1", {});  // sent before the assignment arrived, perhaps
  clock_.Advance(options_.lease);
  Beat("s1", {});
  EXPECT_EQ(Get("j1").term(), 1);
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_RUNNING);
  clock_.Advance(absl::Seconds(1));
  Beat("s1", {});
  const auto sent = TakeSent();
  ASSERT_EQ(sent.size(), 1u) << "its worker is free again";
  EXPECT_EQ(sent[0].message.assign().term(), 2);
  EXPECT_EQ(Get("j1").recoveries(), 1);
  EXPECT_EQ(GetReason(jobs_->Report(Success("s1", kJob, 1))), Reason::kStaleTerm);
  clock_.Advance(options_.lease);
  Beat("s1", {Hold(kJob, 1)});  // not the term that it was given last
  EXPECT_EQ(Get("j1").term(), 2) << "the new term has a lease of its own";
}

TEST_F(RecoveryTest, AJobThatItsWorkerNamesIsKept) {
  CreateAndRun();
  for (int i = 0; i < 2; ++i) {
    Beat("s1", {});
    clock_.Advance(options_.lease / 2);
    Beat("s1", {Hold(kJob, 1)});
    clock_.Advance(options_.lease);
  }
  EXPECT_THAT(TakeSent(), IsEmpty());
  EXPECT_EQ(Get("j1").term(), 1);
  EXPECT_EQ(Get("j1").recoveries(), 0);
}

TEST_F(RecoveryTest, ACancelledJobThatItsWorkerNoLongerNamesIsCancelled) {
  CreateAndRun();
  ASSERT_TRUE(jobs_->CancelFinetune("default", "j1").ok());
  Beat("s1", {});
  clock_.Advance(options_.lease + absl::Seconds(1));
  Beat("s1", {});
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(RecoveryTest, AWorkerWhoseLinkIsClosedGetsNoJob) {
  Connect("s1");
  Disconnect("s1");
  Create(NewFinetune("j1"));
  EXPECT_THAT(TakeSent(), IsEmpty());
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(Get("j1").queue().reason(), v1::WAITING_REASON_NO_WORKER);
  Lose("s1");
  EXPECT_EQ(Get("j1").recoveries(), 0);
  Connect("s1");
  EXPECT_EQ(TakeSent().at(0).message.assign().term(), 1);
}

TEST_F(RecoveryTest, AClosedLinkKeepsTheJobsThatItsWorkerHas) {
  CreateAndRun();
  Disconnect("s1");
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_RUNNING);
  EXPECT_TRUE(jobs_->Report(Success("s1", kJob, 1)).ok()) << "reports come by another way";
}

TEST_F(RecoveryTest, AJobThatWasNeverSentIsNotLost) {
  Create(NewFinetune("j1"));
  for (int i = 0; i < 3; ++i) {
    // All on the loop before the claim's commit comes back to it.
    loop_->Run([&] {
      jobs_->OnWorkerHello("s1", "w", {});
      jobs_->OnBaseReady("s1", "b1");
      jobs_->OnWorkerDisconnected("s1");
    });
    Settle();
    EXPECT_THAT(TakeSent(), IsEmpty());
    EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(Get("j1").recoveries(), 0);
  }
  Lose("s1");
  Connect("s2");
  EXPECT_EQ(TakeSent().at(0).message.assign().term(), 4);
}

TEST_F(RecoveryTest, QueuedJobsSurviveARestart) {
  Create(NewFinetune("j1"));
  Create(NewFinetune("j2"));
  Restart();
  EXPECT_EQ(jobs_->counts().queued, 2);
  EXPECT_EQ(Get("j2").queue().position(), 2);
  Connect("s1");
  EXPECT_EQ(TakeSent().at(0).message.assign().job(), kJob);
}

TEST_F(RecoveryTest, ARunningJobWaitsOneLeaseForItsWorkerAfterARestart) {
  CreateAndRun();
  ReopenWithShortTick();
  clock_.Advance(options_.lease - absl::Seconds(1));
  Settle();
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_RUNNING);
  EXPECT_THAT(Connect("s1", {Hold(kJob, 1)}), IsEmpty()) << "back in time: it keeps the job";
  clock_.Advance(options_.lease);
  Settle();
  EXPECT_TRUE(jobs_->Report(Success("s1", kJob, 1)).ok());
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(RecoveryTest, AfterThatLeaseItIsQueuedAgain) {
  CreateAndRun();
  ReopenWithShortTick();
  Connect("s2");
  EXPECT_THAT(TakeSent(), IsEmpty());
  clock_.Advance(options_.lease);
  const Sent sent = AwaitSent();
  EXPECT_EQ(sent.session, "s2");
  EXPECT_EQ(sent.message.assign().term(), 2);
  EXPECT_EQ(Connect("s1", {Hold(kJob, 1)}).size(), 1u) << "too late";
}

TEST_F(RecoveryTest, HistoryTellsOfEveryTurn) {
  CreateAndRun();
  Lose("s1");
  Connect("s2");
  ASSERT_TRUE(jobs_->Report(Success("s2", kJob, 2)).ok());
  EXPECT_THAT(History(kJob),
              ElementsAre("VALIDATING", "QUEUED", "RUNNING/LOADING", "QUEUED", "RUNNING/LOADING", "SUCCEEDED"));
}

}  // namespace
}  // namespace tenon::server
