// Retrieval evaluations, which the server runs itself.
#include <gmock/gmock.h>

#include "common/formats/status.h"
#include "tests/server/app_jobs/rig.h"

namespace tenon::server {
namespace {

class RetrievalJobsTest : public Rig {
 protected:
  v1::EvalJob CreateRetrieval(const std::string& id) {
    v1::CreateEvalJobRequest request;
    request.set_eval_job_id(id);
    request.mutable_eval_job()->mutable_retrieval()->set_collection("docs");
    request.mutable_eval_job()->mutable_retrieval()->set_queries("q");
    request.mutable_eval_job()->mutable_retrieval()->set_qrels("r");
    const auto job = jobs_->CreateEval("default", request);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *job : v1::EvalJob();
  }
  // Waits for the job's final state.
  v1::EvalJob AwaitEnd(const std::string& id) {
    absl::Mutex mutex;
    int changes = 0;
    const uint64_t watch = jobs_->Watch("default", "evalJobs/" + id, [&] {
      absl::MutexLock lock(&mutex);
      ++changes;
    });
    v1::EvalJob job;
    while (true) {
      {
        absl::MutexLock lock(&mutex);
        changes = 0;
      }
      job = *jobs_->GetEval("default", id);
      if (job.state() >= v1::JOB_STATE_SUCCEEDED) break;
      const auto changed = [&]() { return changes > 0; };
      absl::MutexLock lock(&mutex);
      if (!mutex.AwaitWithTimeout(absl::Condition(&changed), absl::Seconds(30))) break;
    }
    jobs_->Unwatch(watch);
    return job;
  }
};

TEST_F(RetrievalJobsTest, RunsWithoutAWorker) {
  retrieval_.run = [](const auto& progress, const auto&) -> absl::StatusOr<v1::EvalResult> {
    progress(3, 10);
    v1::EvalResult result;
    result.set_examples(10);
    return result;
  };
  CreateRetrieval("e1");
  const v1::EvalJob job = AwaitEnd("e1");
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  ASSERT_EQ(job.results_size(), 1);
  EXPECT_EQ(job.results(0).examples(), 10);
  EXPECT_THAT(History("evalJobs/e1"),
              testing::ElementsAre("VALIDATING", "QUEUED", "RUNNING/LOADING", "RUNNING/EVALUATING", "SUCCEEDED"));
}

TEST_F(RetrievalJobsTest, AFailureKeepsItsReason) {
  retrieval_.run = [](const auto&, const auto&) -> absl::StatusOr<v1::EvalResult> {
    return TenonError(Reason::kNoWorker, "no worker can embed the queries");
  };
  CreateRetrieval("e1");
  const v1::EvalJob job = AwaitEnd("e1");
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job.error().message(), "no worker can embed the queries");
}

TEST_F(RetrievalJobsTest, IsCancelledWhileItRuns) {
  absl::Notification running;
  retrieval_.run = [&](const auto&, const auto& cancelled) -> absl::StatusOr<v1::EvalResult> {
    running.Notify();
    while (!cancelled()) std::this_thread::yield();
    return TenonError(Reason::kCancelled, "stopped");
  };
  CreateRetrieval("e1");
  running.WaitForNotification();
  ASSERT_TRUE(jobs_->CancelEval("default", "e1").ok());
  EXPECT_EQ(AwaitEnd("e1").state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(RetrievalJobsTest, OneAtATime) {
  std::atomic<int> at_once = 0, most = 0;
  retrieval_.run = [&](const auto&, const auto&) -> absl::StatusOr<v1::EvalResult> {
    most = std::max(most.load(), ++at_once);
    --at_once;
    return v1::EvalResult();
  };
  for (const char* id : {"e1", "e2", "e3"}) CreateRetrieval(id);
  for (const char* id : {"e1", "e2", "e3"}) EXPECT_EQ(AwaitEnd(id).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(most, 1);
}

TEST_F(RetrievalJobsTest, WhatCannotRunIsRefusedBeforeItIsStored) {
  bool in_transaction = false;
  retrieval_.check = [&](Snapshot& snapshot) {
    in_transaction = dynamic_cast<Transaction*>(&snapshot) != nullptr;
    return TenonError(Reason::kNotFound, "no collection docs", "eval_job.retrieval.collection");
  };
  v1::CreateEvalJobRequest request;
  request.mutable_eval_job()->mutable_retrieval()->set_collection("docs");
  request.mutable_eval_job()->mutable_retrieval()->set_queries("q");
  request.mutable_eval_job()->mutable_retrieval()->set_qrels("r");
  EXPECT_EQ(GetReason(jobs_->CreateEval("default", request).status()), Reason::kNotFound);
  EXPECT_TRUE(in_transaction) << "what it saw could go before the job is stored";
  EXPECT_EQ(jobs_->ListEval("default", {})->eval_jobs_size(), 0);
}

TEST_F(RetrievalJobsTest, RunsAgainAfterTheServerStopped) {
  absl::Notification running;
  std::atomic<int> runs = 0;
  retrieval_.run = [&](const auto&, const auto& cancelled) -> absl::StatusOr<v1::EvalResult> {
    if (++runs == 1) {
      running.Notify();
      while (!cancelled()) std::this_thread::yield();
      return TenonError(Reason::kCancelled, "stopped");
    }
    return v1::EvalResult();
  };
  CreateRetrieval("e1");
  running.WaitForNotification();
  Restart();
  EXPECT_EQ(AwaitEnd("e1").state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(runs, 2);
}

TEST_F(RetrievalJobsTest, IsHandedBackWhenTheServerEndsUnderIt) {
  absl::Notification running;
  std::atomic<int> runs = 0;
  retrieval_.run = [&](const auto&, const auto& cancelled) -> absl::StatusOr<v1::EvalResult> {
    if (++runs > 1) return v1::EvalResult();
    running.Notify();
    while (!cancelled()) std::this_thread::yield();
    return TenonError(Reason::kShuttingDown, "the queries were turned away");
  };
  CreateRetrieval("e1");
  running.WaitForNotification();
  jobs_->Close();
  Restart();
  EXPECT_EQ(AwaitEnd("e1").state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(runs, 2);
  EXPECT_THAT(History("evalJobs/e1"),
              testing::ElementsAre("VALIDATING", "QUEUED", "RUNNING/LOADING", "QUEUED", "RUNNING/LOADING", "SUCCEEDED"))
      << "handed back once, not claimed again by a server that ends, and not lost";
}

}  // namespace
}  // namespace tenon::server
