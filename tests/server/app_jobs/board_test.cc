#include <gtest/gtest.h>

#include <ctime>

#include "server/app/job_board.h"

namespace tenon::server {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

JobRecord Queued(const std::string& id, const std::string& tenant = "t") {
  JobRecord job;
  job.set_tenant(tenant);
  job.set_base_digest("b1");
  job.mutable_finetune()->set_name("finetuneJobs/" + id);
  StartJob(job, kNow);
  EXPECT_TRUE(QueueJob(job, kNow).ok());
  return job;
}

TEST(JobBoardTest, ACopyThatComesLateChangesNothing) {
  JobBoard board(1, "server");
  JobRecord job = Queued("j");
  const JobRecord queued = job;
  ASSERT_TRUE(ClaimJob(job, "s", "w", kNow).ok());
  board.Put(job);
  board.Put(queued);
  EXPECT_EQ(board.counts().running, 1);
  EXPECT_EQ(board.counts().queued, 0);
}

TEST(JobBoardTest, AFinalJobDoesNotComeBack) {
  JobBoard board(1, "server");
  JobRecord job = Queued("j");
  const JobRecord queued = job;
  RequestCancel(job, kNow);
  board.Put(job);
  board.Put(queued);
  EXPECT_EQ(board.counts().queued, 0);
}

TEST(JobBoardTest, WhatIsTakenIsNotTakenTwice) {
  JobBoard board(5, "server");
  board.AddWorker("s", "w", {});
  board.AddBase("s", "b1");
  board.Put(Queued("j"));
  const auto claim = board.TakeClaim();
  ASSERT_TRUE(claim.has_value());
  EXPECT_FALSE(board.TakeClaim().has_value());
  board.Release(claim->key);
  EXPECT_TRUE(board.TakeClaim().has_value());
}

TEST(JobBoardTest, ClaimsUnderWayCountAgainstTheWorker) {
  JobBoard board(1, "server");
  board.AddWorker("s", "w", {});
  board.AddBase("s", "b1");
  board.Put(Queued("j1"));
  board.Put(Queued("j2"));
  EXPECT_TRUE(board.TakeClaim().has_value());
  EXPECT_FALSE(board.TakeClaim().has_value());
}

TEST(JobBoardTest, AJobWhoseBaseIsNowhereDoesNotHoldUpOthers) {
  JobBoard board(1, "server");
  board.AddWorker("s", "w", {});
  board.AddBase("s", "b1");
  JobRecord blocked = Queued("a-first");
  blocked.set_base_digest("elsewhere");
  board.Put(blocked);
  board.Put(Queued("b-second"));
  EXPECT_EQ(board.TakeClaim()->key.name, "finetuneJobs/b-second");
}

TEST(JobBoardTest, TellsWhichFilesACheckpointLost) {
  JobBoard board(1, "server");
  JobRecord job = Queued("j");
  ASSERT_TRUE(ClaimJob(job, "s", "w", kNow).ok());
  job.mutable_checkpoint()->add_files()->set_sha256("old");
  job.mutable_checkpoint()->add_files()->set_sha256("both");
  EXPECT_TRUE(board.Put(job).empty());
  job.mutable_checkpoint()->mutable_files(0)->set_sha256("new");
  job.set_version(job.version() + 1);
  EXPECT_EQ(board.Put(job), std::vector<std::string>{"old"});
  EXPECT_EQ(board.CheckpointFiles(), (std::set<std::string>{"both", "new"}));
}

TEST(JobBoardTest, TheLeastLoadedWorkerThatHoldsTheBaseIsChosen) {
  JobBoard board(2, "server");
  for (const std::string session : {"s1", "s2", "s3"}) {
    board.AddWorker(session, "w", {});
    if (session != "s3") board.AddBase(session, "b1");
  }
  for (const std::string id : {"j1", "j2", "j3", "j4", "j5"}) board.Put(Queued(id));
  std::vector<std::string> sessions;
  while (const auto claim = board.TakeClaim()) sessions.push_back(claim->session);
  EXPECT_EQ(sessions, (std::vector<std::string>{"s1", "s2", "s1", "s2"}));
}

TEST(JobBoardTest, ALongQueueBehindBusyWorkersCostsOneLook) {
  JobBoard board(1, "server");
  for (int i = 0; i < 200; ++i) {
    const std::string session = "s" + std::to_string(i);
    board.AddWorker(session, "w", {});
    board.AddBase(session, "b1");
    JobRecord running = Queued("running-" + std::to_string(i));
    ASSERT_TRUE(ClaimJob(running, session, "w", kNow).ok());
    board.Put(running);
  }
  for (int i = 0; i < 2000; ++i) board.Put(Queued("queued-" + std::to_string(i)));
  // Of this process alone, and bounded by far: every job at every worker over again takes some ten seconds.
  const std::clock_t start = std::clock();
  EXPECT_FALSE(board.TakeClaim().has_value());
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 1.0);
}

TEST(JobBoardTest, AJobGivenUpIsLostThoughItsWorkerIsConnected) {
  JobBoard board(1, "server");
  board.AddWorker("s", "w", {});
  JobRecord job = Queued("j");
  ASSERT_TRUE(ClaimJob(job, "s", "w", kNow).ok());
  board.Put(job);
  const JobKey key{"t", "finetuneJobs/j"};
  EXPECT_TRUE(board.TakeLost(kNow).empty());
  board.GiveUp(key, 7);
  EXPECT_TRUE(board.TakeLost(kNow).empty()) << "another term's";
  board.GiveUp(key, 1);
  RequestCancel(job, kNow);
  board.Put(job);  // what is stored meanwhile does not bring it back
  EXPECT_EQ(board.TakeLost(kNow).size(), 1u);
  board.Release(key);
  internal::v1::JobHold hold;
  hold.set_job("finetuneJobs/j");
  hold.set_term(1);
  EXPECT_EQ(board.AddWorker("s", "w", {hold}).drop.size(), 1u);
}

TEST(JobBoardTest, JobsOfOneNameAreToldApartBySession) {
  JobBoard board(1, "server");
  JobRecord first = Queued("j", "t1"), second = Queued("j", "t2");
  ASSERT_TRUE(ClaimJob(first, "s1", "w", kNow).ok());
  ASSERT_TRUE(ClaimJob(second, "s2", "w", kNow).ok());
  board.Put(first);
  board.Put(second);
  EXPECT_EQ(board.FindRunning("finetuneJobs/j", 1, "s1")->tenant, "t1");
  EXPECT_EQ(board.FindRunning("finetuneJobs/j", 1, "s2")->tenant, "t2");
  EXPECT_FALSE(board.FindRunning("finetuneJobs/j", 2, "s2").has_value());
}

}  // namespace
}  // namespace tenon::server
