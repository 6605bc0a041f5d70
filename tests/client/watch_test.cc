#include "client/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "absl/synchronization/mutex.h"
#include "common/formats/status.h"
#include "tests/client/in_process_server.h"

namespace tenon::client {
namespace {

// A job with events 1 to `total`. Each watch sends the next `events_a_stream` of them and then ends with `broken`; the
// last one sends the final state.
class ScriptedJobs final : public v1::FinetuneService::Service {
 public:
  ScriptedJobs(int64_t total, int64_t events_a_stream, grpc::Status broken)
      : total_(total), events_a_stream_(events_a_stream), broken_(std::move(broken)) {}

  grpc::Status WatchFinetuneJob(grpc::ServerContext*, const v1::WatchFinetuneJobRequest* request,
                                grpc::ServerWriter<v1::WatchFinetuneJobResponse>* writer) override {
    {
      absl::MutexLock lock(&mutex_);
      resumed_after_.push_back(request->after_sequence());
    }
    v1::WatchFinetuneJobResponse snapshot;
    snapshot.mutable_finetune_job()->set_name(request->name());
    snapshot.mutable_finetune_job()->set_state(v1::JOB_STATE_RUNNING);
    writer->Write(snapshot);
    // An event before the asked ones, as a server may repeat what was under way.
    const int64_t first = std::max<int64_t>(1, request->after_sequence());
    for (int64_t sequence = first; sequence <= total_; ++sequence) {
      if (sequence > request->after_sequence() + events_a_stream_) return broken_;
      v1::WatchFinetuneJobResponse update;
      update.mutable_event()->set_sequence(sequence);
      writer->Write(update);
    }
    snapshot.mutable_finetune_job()->set_state(v1::JOB_STATE_SUCCEEDED);
    writer->Write(snapshot);
    return grpc::Status::OK;
  }

  std::vector<int64_t> resumed_after() {
    absl::MutexLock lock(&mutex_);
    return resumed_after_;
  }

 private:
  const int64_t total_;
  const int64_t events_a_stream_;
  const grpc::Status broken_;
  absl::Mutex mutex_;
  std::vector<int64_t> resumed_after_ ABSL_GUARDED_BY(mutex_);
};

struct Seen {
  std::vector<int64_t> sequences;
  void operator()(const v1::WatchFinetuneJobResponse& update) {
    if (update.has_event()) sequences.push_back(update.event().sequence());
  }
};

TEST(Watch, SeesEveryEventOnceInOrder) {
  ScriptedJobs jobs(5, 100, grpc::Status::OK);
  InProcessServer server({&jobs});
  Client client({.server = server.address()});
  Seen seen;
  const auto job = WatchFinetuneJob(client, "finetuneJobs/j", std::ref(seen));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(seen.sequences, testing::ElementsAre(1, 2, 3, 4, 5));
}

TEST(Watch, TakesUpABrokenStreamBehindTheLastEvent) {
  ScriptedJobs jobs(5, 2, grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down"));
  InProcessServer server({&jobs});
  Client client({.server = server.address()});
  Seen seen;
  int lost = 0;
  WatchOptions options;
  options.on_lost = [&](const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    ++lost;
  };
  const auto job = WatchFinetuneJob(client, "finetuneJobs/j", std::ref(seen), options);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(seen.sequences, testing::ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(jobs.resumed_after(), testing::ElementsAre(0, 2, 4));
  EXPECT_EQ(lost, 2);
}

TEST(Watch, AStreamThatEndsEarlyWithoutAnErrorIsTakenUpToo) {
  ScriptedJobs jobs(3, 2, grpc::Status::OK);
  InProcessServer server({&jobs});
  Client client({.server = server.address()});
  Seen seen;
  ASSERT_TRUE(WatchFinetuneJob(client, "finetuneJobs/j", std::ref(seen)).ok());
  EXPECT_THAT(seen.sequences, testing::ElementsAre(1, 2, 3));
}

TEST(Watch, AnErrorOfTheJobIsNotRetried) {
  ScriptedJobs jobs(3, 1, ToGrpcStatus(TenonError(Reason::kNotFound, "There is no such job.", "name")));
  InProcessServer server({&jobs});
  Client client({.server = server.address()});
  const auto job = WatchFinetuneJob(client, "finetuneJobs/j", Seen());
  EXPECT_EQ(GetReason(job.status()), Reason::kNotFound);
  EXPECT_EQ(jobs.resumed_after().size(), 1);
}

TEST(Watch, GivesUpOnAServerThatStaysAway) {
  std::string address;
  {
    ScriptedJobs jobs(1, 1, grpc::Status::OK);
    InProcessServer server({&jobs});
    address = server.address();
  }
  Client client({.server = address});
  const auto job = WatchFinetuneJob(client, "finetuneJobs/j", Seen(), {.patience = absl::Milliseconds(1)});
  EXPECT_EQ(job.status().code(), absl::StatusCode::kUnavailable);
}

TEST(Watch, CancelEndsTheWaitForAServer) {
  Calls calls;
  Client client({.server = "127.0.0.1:1"}, &calls);
  WatchOptions options;
  options.on_lost = [&](const absl::Status&) { calls.Cancel(); };
  const auto job = WatchFinetuneJob(client, "finetuneJobs/j", Seen(), options);
  EXPECT_EQ(GetReason(job.status()), Reason::kCancelled);
}

TEST(Watch, FinalStates) {
  EXPECT_FALSE(IsFinal(v1::JOB_STATE_VALIDATING));
  EXPECT_FALSE(IsFinal(v1::JOB_STATE_QUEUED));
  EXPECT_FALSE(IsFinal(v1::JOB_STATE_RUNNING));
  EXPECT_TRUE(IsFinal(v1::JOB_STATE_SUCCEEDED));
  EXPECT_TRUE(IsFinal(v1::JOB_STATE_FAILED));
  EXPECT_TRUE(IsFinal(v1::JOB_STATE_CANCELLED));
}

}  // namespace
}  // namespace tenon::client
