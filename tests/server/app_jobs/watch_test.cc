// Watch streams, from the scheduler to the messages a client reads.
#include <gmock/gmock.h>

#include <thread>

#include "common/formats/status.h"
#include "server/api/job_watch.h"
#include "tests/server/app_jobs/rig.h"

namespace tenon::server {
namespace {

using Response = v1::WatchFinetuneJobResponse;

// Collects what is written; may stand for a client that goes away.
class Collector final : public StreamWriter<Response> {
 public:
  bool Write(const Response& message) override {
    absl::MutexLock lock(&mutex_);
    if (gone_) return false;
    messages_.push_back(message);
    return true;
  }
  void GoAway() {
    absl::MutexLock lock(&mutex_);
    gone_ = true;
  }
  std::vector<Response> messages() const {
    absl::MutexLock lock(&mutex_);
    return messages_;
  }
  void AwaitCount(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return messages_.size() >= count; };
    ASSERT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(30)));
  }

 private:
  mutable absl::Mutex mutex_;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Response> messages_ ABSL_GUARDED_BY(mutex_);
};

class WatchTest : public Rig {
 protected:
  WatchTest() {
    call_.tenant = "default";
    call_.cancelled = [] { return false; };
    call_.when_cancelled = [this](std::function<void()> callback) { cancel_ = std::move(callback); };
  }
  absl::Status Watch(int64_t after = 0) {
    const std::string name = "finetuneJobs/j1";
    return WatchJob<Response, v1::FinetuneJob>(
        call_, *jobs_, name, after, [&] { return jobs_->GetFinetune("default", name); },
        &Response::mutable_finetune_job, collector_);
  }
  void Finish() { ASSERT_TRUE(jobs_->Report(Success("s1", "finetuneJobs/j1", 1)).ok()); }

  CallContext call_;
  std::function<void()> cancel_;
  Collector collector_;
};

TEST_F(WatchTest, TellsTheWholeStoryOfAFinishedJobAndEnds) {
  Create(NewFinetune("j1"));
  Connect("s1");
  Finish();
  ASSERT_TRUE(Watch().ok());
  const auto messages = collector_.messages();
  ASSERT_EQ(messages.size(), 5u);
  EXPECT_EQ(messages[0].finetune_job().state(), v1::JOB_STATE_SUCCEEDED) << "the job as it is comes first";
  for (int i = 1; i < 5; ++i) EXPECT_EQ(messages[i].event().sequence(), i);
}

TEST_F(WatchTest, ResumesBehindWhatWasSeen) {
  Create(NewFinetune("j1"));
  Connect("s1");
  Finish();
  ASSERT_TRUE(Watch(3).ok());
  const auto messages = collector_.messages();
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[1].event().sequence(), 4);
}

TEST_F(WatchTest, FollowsAJobToItsEnd) {
  Create(NewFinetune("j1"));
  absl::Status status;
  std::thread watcher([&] { status = Watch(); });
  collector_.AwaitCount(3);
  Connect("s1");
  auto progress = NewReport("s1", "finetuneJobs/j1", 1);
  progress.mutable_progress()->set_done(5);
  ASSERT_TRUE(jobs_->Report(progress).ok());
  Finish();
  watcher.join();
  EXPECT_TRUE(status.ok()) << status;
  int64_t last = 0;
  for (const Response& message : collector_.messages()) {
    if (!message.has_event()) continue;
    EXPECT_EQ(message.event().sequence(), last + 1) << "each event once, in order";
    last = message.event().sequence();
  }
  EXPECT_EQ(last, 4);
  EXPECT_EQ(collector_.messages().back().finetune_job().state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(WatchTest, EndsWhenTheClientIsGone) {
  Create(NewFinetune("j1"));
  absl::Status status;
  std::thread watcher([&] { status = Watch(); });
  collector_.AwaitCount(3);
  cancel_();
  watcher.join();
  EXPECT_EQ(GetReason(status), Reason::kCancelled);
}

TEST_F(WatchTest, EndsWhenTheServerEnds) {
  Create(NewFinetune("j1"));
  absl::Status status;
  std::thread watcher([&] { status = Watch(); });
  collector_.AwaitCount(3);
  jobs_->Close();
  watcher.join();
  EXPECT_EQ(GetReason(status), Reason::kShuttingDown) << "a client may watch again, elsewhere or later";
}

TEST_F(WatchTest, EndsWhenAWriteFails) {
  Create(NewFinetune("j1"));
  collector_.GoAway();
  EXPECT_EQ(GetReason(Watch()), Reason::kCancelled);
}

TEST_F(WatchTest, AJobThatIsNotThereIsNotFound) { EXPECT_EQ(GetReason(Watch()), Reason::kNotFound); }

TEST_F(WatchTest, ALongHistoryIsToldWhole) {
  Create(NewFinetune("j1"));
  Connect("s1");
  auto report = NewReport("s1", "finetuneJobs/j1", 1);
  for (int i = 1; i <= 600; ++i) {
    report.mutable_metrics()->set_step(i);
    report.mutable_metrics()->set_kind("train");
    ASSERT_TRUE(jobs_->Report(report).ok());
  }
  Finish();
  ASSERT_TRUE(Watch().ok());
  EXPECT_EQ(collector_.messages().size(), 605u);
}

}  // namespace
}  // namespace tenon::server
