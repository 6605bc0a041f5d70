// Random sequences of everything that can happen to a job keep its promises.
#include <gtest/gtest.h>

#include <random>

#include "common/formats/status.h"
#include "server/jobs/job.h"
#include "tests/server/jobs/job_builder.h"

namespace tenon::server {
namespace {

constexpr int kMaxLosses = 3;

class Model {
 public:
  explicit Model(uint32_t seed) : random_(seed) { Append(StartJob(job_, now_)); }

  void Step() {
    now_ += absl::Seconds(1);
    const JobRecord before = job_;
    const absl::StatusOr<JobEvents> events = RandomChange();
    if (!events.ok()) {
      ASSERT_EQ(job_.SerializeAsString(), before.SerializeAsString()) << "a refused change changed something";
      return;
    }
    Append(*events);
    CheckAgainst(before, *events);
  }

  const JobRecord& job() const { return job_; }
  int final_transitions() const { return final_transitions_; }

 private:
  int Draw(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }

  absl::StatusOr<JobEvents> RandomChange() {
    // Mostly the current term, often an older one, sometimes one that never was.
    const int64_t term = JobTerm(job_) - (Draw(3) == 0 ? Draw(3) : 0) + (Draw(20) == 0 ? 1 : 0);
    internal::v1::ReportJobRequest report = NewReport(job_, term);
    switch (Draw(12)) {
      case 0:
        return QueueJob(job_, now_);
      case 1:
      case 2:
        return ClaimJob(job_, "s" + std::to_string(Draw(3)), "w", now_);
      case 3:
        return LoseJob(job_, term, kMaxLosses, now_);
      case 4:
        if (Draw(4) != 0) return JobEvents{};
        return RequestCancel(job_, now_);
      case 5:
        report.mutable_progress()->set_phase(static_cast<v1::JobPhase>(Draw(5)));
        return ApplyReport(job_, report, now_);
      case 6:
        report.mutable_metrics()->set_step(Draw(20));
        report.mutable_metrics()->set_kind("train");
        return ApplyReport(job_, report, now_);
      case 7:
        report.mutable_checkpoint()->set_step(Draw(20));
        return ApplyReport(job_, report, now_);
      case 8:
        report.mutable_notice()->set_message(std::to_string(Draw(100)));
        return ApplyReport(job_, report, now_);
      case 9:
        if (Draw(4) != 0) return JobEvents{};
        report.mutable_finetune_success();
        return ApplyReport(job_, report, now_);
      case 10:
        if (Draw(4) != 0) return JobEvents{};
        report.mutable_failure()->set_reason("INTERNAL");
        return ApplyReport(job_, report, now_);
      default:
        report.mutable_stopped();
        return ApplyReport(job_, report, now_);
    }
  }

  void Append(const JobEvents& events) {
    history_.insert(history_.end(), events.begin(), events.end());
    for (const v1::JobEvent& event : events) {
      if (event.has_state_change() && IsFinal(event.state_change().state())) ++final_transitions_;
    }
  }

  void CheckAgainst(const JobRecord& before, const JobEvents& events) {
    const v1::JobState from = JobStateOf(before), to = JobStateOf(job_);
    if (IsFinal(from)) {
      ASSERT_EQ(job_.SerializeAsString(), before.SerializeAsString()) << "final is final";
      ASSERT_TRUE(events.empty());
    }
    ASSERT_GE(JobTerm(job_), JobTerm(before)) << "terms grow";
    if (from != v1::JOB_STATE_RUNNING && to == v1::JOB_STATE_RUNNING) {
      ASSERT_EQ(JobTerm(job_), JobTerm(before) + 1) << "every claim starts a term";
    } else {
      ASSERT_EQ(JobTerm(job_), JobTerm(before));
    }
    ASSERT_EQ(Replay(history_), to) << "the history tells the state";
    ASSERT_LE(final_transitions_, 1);
    ASSERT_EQ(final_transitions_ == 1, IsFinal(to));
    ASSERT_LE(job_.losses(), kMaxLosses);
    ASSERT_GE(job_.checkpoint().step(), IsFinal(to) ? 0 : before.checkpoint().step());
    ASSERT_TRUE(events.empty() || job_.version() > before.version());
    if (from == v1::JOB_STATE_VALIDATING && to != from) {
      ASSERT_TRUE(to == v1::JOB_STATE_QUEUED || to == v1::JOB_STATE_CANCELLED);
    }
    ASSERT_TRUE(to != v1::JOB_STATE_SUCCEEDED || from == to || from == v1::JOB_STATE_RUNNING);
  }

  std::mt19937 random_;
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  JobRecord job_ = NewFinetune();
  JobEvents history_;
  int final_transitions_ = 0;
};

TEST(JobModelTest, RandomSequencesKeepTheInvariants) {
  int finished = 0, succeeded = 0, failed = 0, cancelled = 0;
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Model model(seed);
    for (int step = 0; step < 80; ++step) {
      model.Step();
      if (testing::Test::HasFatalFailure()) return;
    }
    finished += model.final_transitions();
    succeeded += JobStateOf(model.job()) == v1::JOB_STATE_SUCCEEDED ? 1 : 0;
    failed += JobStateOf(model.job()) == v1::JOB_STATE_FAILED ? 1 : 0;
    cancelled += JobStateOf(model.job()) == v1::JOB_STATE_CANCELLED ? 1 : 0;
  }
  // The walk reaches every end often enough to mean something.
  EXPECT_GT(succeeded, 100);
  EXPECT_GT(failed, 100);
  EXPECT_GT(cancelled, 100);
  EXPECT_EQ(finished, succeeded + failed + cancelled);
}

}  // namespace
}  // namespace tenon::server
