// Training jobs on the device loop, beside inference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "common/formats/status.h"
#include "tests/worker/runtime/runtime_fixture.h"

namespace tenon::runtime {
namespace {

using tenon::testing::FakeEngine;
using ::testing::ElementsAre;

std::string ReadAll(const std::filesystem::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

class RuntimeJobsTest : public RuntimeFixture {
 protected:
  static TrainJob Job(const std::string& id, int64_t steps) {
    TrainJob job{.id = id, .name = "finetuneJobs/" + id, .base_digest = "base"};
    job.options.max_steps = steps;
    job.options.save_steps = 4;
    job.options.seed = 9;
    for (int i = 0; i < 7; ++i) job.data.train.push_back({absl::StrCat("row ", i), {0}});
    return job;
  }
  // Runs a job to its end; the adapter's bytes.
  absl::StatusOr<std::string> Train(TrainJob job, TrainCallbacks callbacks = {}) {
    absl::Notification done;
    absl::StatusOr<std::string> result = absl::UnknownError("");
    callbacks.done = [&](absl::StatusOr<std::filesystem::path> folder) {
      if (folder.ok()) {
        result = ReadAll(*folder / "adapter_model.safetensors");
      } else {
        result = folder.status();
      }
      done.Notify();
    };
    if (const auto status = runtime_->StartTraining(std::move(job), std::move(callbacks)); !status.ok()) return status;
    done.WaitForNotification();
    return result;
  }
};

TEST_F(RuntimeJobsTest, TrainsReportsAndExports) {
  Start();
  std::vector<int64_t> steps;
  std::vector<int64_t> checkpoints;
  bool finished = false;
  TrainCallbacks callbacks;
  callbacks.update = [&](const engine::TrainUpdate& update) {
    if (const auto* step = std::get_if<engine::TrainProgress>(&update)) steps.push_back(step->step);
    finished = finished || std::holds_alternative<engine::TrainDone>(update);
  };
  callbacks.checkpoint = [&](int64_t step, const std::filesystem::path& folder) {
    EXPECT_TRUE(std::filesystem::exists(folder / "state"));
    checkpoints.push_back(step);
    return absl::OkStatus();
  };
  const auto bytes = Train(Job("a", 10), callbacks);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_FALSE(bytes->empty());
  EXPECT_EQ(steps.size(), 10u);
  EXPECT_THAT(checkpoints, ElementsAre(4, 8));
  EXPECT_TRUE(finished);
}

TEST_F(RuntimeJobsTest, AScorerIsTrainedOnTheSentencesOfItsTexts) {
  Start();
  engine::ScorerData texts;
  texts.train = {{"The cat sat. It rained. Dogs barked.", "the cat sat"}, {"One fish. Two birds.", "two birds"}};
  const auto splitter = engine::SentenceSplitter::Make();
  ASSERT_TRUE(splitter.ok());
  auto rows = engine::MakeScorerTraining(texts, *splitter, "[SEP]", [] { return false; });
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->data.train.size(), 5u);
  TrainJob by_rows = Job("rows", 10), by_texts = Job("texts", 10);
  by_rows.data = std::move(rows->data);
  by_texts.data = {};
  by_texts.scorer = texts;
  const auto expected = Train(std::move(by_rows)), got = Train(std::move(by_texts));
  ASSERT_TRUE(expected.ok() && got.ok()) << got.status();
  EXPECT_EQ(*got, *expected);
  TrainJob blank = Job("blank", 10);
  texts.train[1].input = "\n";
  blank.scorer = texts;
  std::string notice;
  TrainCallbacks callbacks;
  callbacks.notice = [&](const std::string& text) { notice = text; };
  EXPECT_TRUE(Train(std::move(blank), callbacks).ok());
  EXPECT_THAT(notice, ::testing::HasSubstr("train row 2"));
}

TEST_F(RuntimeJobsTest, AScorersOptionsFollowTheNumberOfItsSentences) {
  Start();
  TrainJob job = Job("texts", 10);
  job.data = {};
  job.scorer.emplace().train = {{"The cat sat. It rained. Dogs barked.", "the cat sat"},
                                {"One fish. Two birds.", "two birds"}};
  int64_t rows = 0;
  job.options_for = [&](int64_t count) {
    rows = count;
    engine::TrainOptions options;
    options.max_steps = 3;
    return options;
  };
  int64_t steps = 0;
  TrainCallbacks callbacks;
  callbacks.update = [&](const engine::TrainUpdate& update) {
    steps += std::holds_alternative<engine::TrainProgress>(update);
  };
  ASSERT_TRUE(Train(job, callbacks).ok());
  EXPECT_EQ(rows, 5);
  EXPECT_EQ(steps, 3);
  job.options_for = [](int64_t) { return TenonError(Reason::kOptionInvalid, "no", "warmup_ratio"); };
  EXPECT_EQ(GetField(Train(job).status()), "warmup_ratio");
}

TEST_F(RuntimeJobsTest, LeavesNothingInScratch) {
  Start();
  ASSERT_TRUE(Train(Job("a", 5)).ok());
  runtime_.reset();
  EXPECT_TRUE(std::filesystem::is_empty(options_.scratch));
}

// In the fake engine a base takes 1000 bytes, and training all of it 4000, or 5000 with validation rows.
TEST_F(RuntimeJobsTest, AWholeBaseIsTrainedOnlyWhereItFits) {
  options_.memory_bytes = 1000 + 5000;
  Start();
  TrainJob whole = Job("whole", 2);
  whole.options.method = engine::Method::kFull;
  whole.data.validation_pairs.push_back({"row", "reply"});
  Gate gate;
  FakeEngine::Get().on_slice = [&](int64_t slice) {
    if (slice == 0) gate.Pass();
    return absl::OkStatus();
  };
  std::thread training([&] { EXPECT_TRUE(Train(whole).ok()); });
  gate.WaitUntilReached();
  EXPECT_EQ(runtime_->stats().training_bytes, 5000);
  TrainJob second = whole;
  second.id = "second";
  const absl::Status refused = Train(second).status();
  EXPECT_EQ(GetReason(refused), Reason::kOutOfMemory) << refused;
  EXPECT_TRUE(runtime_->StartTraining(Job("adapter", 1), {.done = [](const auto&) {}}).ok()) << "that is small";
  gate.Open();
  training.join();
  EXPECT_EQ(runtime_->stats().training_bytes, 0);
  EXPECT_TRUE(Train(second).ok()) << "its memory is free again";
}

TEST(TrainJobTest, ValidatesWithRowsOfAnyKind) {
  EXPECT_FALSE(TrainJob().validates());
  TrainJob texts, pairs, scorer;
  texts.data.validation = {{"row", {0}}};
  pairs.data.validation_pairs = {{"row", "reply"}};
  scorer.scorer.emplace();
  EXPECT_FALSE(scorer.validates());
  scorer.scorer->validation = {{"text", "summary"}};
  for (const TrainJob* job : {&texts, &pairs, &scorer}) EXPECT_TRUE(job->validates());
}

TEST_F(RuntimeJobsTest, AWholeBaseThatNeverFitsIsRefused) {
  options_.memory_bytes = 1000 + 3999;
  Start();
  TrainJob whole = Job("whole", 2);
  whole.options.method = engine::Method::kFull;
  EXPECT_EQ(GetReason(Train(whole).status()), Reason::kOutOfMemory);
  EXPECT_EQ(runtime_->stats().training_bytes, 0);
  EXPECT_TRUE(Train(Job("adapter", 2)).ok());
  runtime_.reset();
  options_.memory_bytes = 0;  // unknown
  Start();
  EXPECT_TRUE(Train(whole).ok());
}

TEST_F(RuntimeJobsTest, InferenceMeanwhileDoesNotChangeTheBytes) {
  Start();
  const auto alone = Train(Job("alone", 400));
  ASSERT_TRUE(alone.ok());
  std::atomic<bool> stop{false};
  std::atomic<int> answered{0};
  std::vector<std::thread> clients;
  for (int t = 0; t < 4; ++t) {
    clients.emplace_back([&, t] {
      while (!stop) answered += Call(Classify(absl::StrCat("head-", t), {"x", "y"})).ok();
    });
  }
  const auto busy = Train(Job("busy", 400));
  stop = true;
  for (std::thread& client : clients) client.join();
  ASSERT_TRUE(busy.ok());
  EXPECT_EQ(*alone, *busy);
  EXPECT_GT(answered, 0);
}

TEST_F(RuntimeJobsTest, TellsWhatTheTrainerHasToSayOfItsStart) {
  FakeEngine::Get().notice = "The checkpoint was made on another machine.";
  Start();
  std::vector<std::string> heard;
  TrainCallbacks callbacks;
  callbacks.notice = [&](const std::string& message) { heard.push_back(message); };
  callbacks.update = [&](const engine::TrainUpdate& update) {
    if (std::holds_alternative<engine::TrainProgress>(update)) heard.push_back("step");
  };
  ASSERT_TRUE(Train(Job("new", 1), callbacks).ok());
  EXPECT_THAT(heard, ElementsAre("step"));
  heard.clear();
  TrainJob resumed = Job("resumed", 1);
  resumed.checkpoint = options_.scratch;  // nothing is there: it goes on from step 0
  ASSERT_TRUE(Train(std::move(resumed), callbacks).ok());
  EXPECT_THAT(heard, ElementsAre("The checkpoint was made on another machine.", "step"));
}

TEST_F(RuntimeJobsTest, GoesOnFromACheckpointToTheSameBytes) {
  Start();
  const auto whole = Train(Job("whole", 10));
  const std::filesystem::path kept = options_.scratch.parent_path() / "kept-checkpoint";
  TrainCallbacks callbacks;
  callbacks.checkpoint = [&](int64_t step, const std::filesystem::path& folder) {
    if (step == 4) std::filesystem::copy(folder, kept, std::filesystem::copy_options::recursive);
    return absl::OkStatus();
  };
  ASSERT_TRUE(Train(Job("first", 10), callbacks).ok());
  TrainJob resumed = Job("second", 10);
  resumed.checkpoint = kept;
  std::vector<int64_t> steps;
  TrainCallbacks watching;
  watching.update = [&](const engine::TrainUpdate& update) {
    if (const auto* step = std::get_if<engine::TrainProgress>(&update)) steps.push_back(step->step);
  };
  const auto bytes = Train(std::move(resumed), watching);
  std::filesystem::remove_all(kept);
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(*bytes, *whole);
  EXPECT_EQ(steps.front(), 5);
}

TEST_F(RuntimeJobsTest, InferenceRunsWhileACheckpointIsPublished) {
  Start();
  Gate gate;
  std::thread training([&] {
    TrainCallbacks callbacks;
    callbacks.checkpoint = [&](int64_t, const std::filesystem::path&) {
      gate.Pass();
      return absl::OkStatus();
    };
    EXPECT_TRUE(Train(Job("a", 5), callbacks).ok());
  });
  gate.WaitUntilReached();
  const int64_t slices = FakeEngine::Get().trainer_slices;
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(Call(Embed({"x"})).ok());
  EXPECT_EQ(FakeEngine::Get().trainer_slices, slices) << "the job itself waits for its checkpoint";
  gate.Open();
  training.join();
}

TEST_F(RuntimeJobsTest, AFailedCheckpointEndsTheJobWithItsError) {
  Start();
  TrainCallbacks callbacks;
  callbacks.checkpoint = [](int64_t, const std::filesystem::path&) { return TenonError(Reason::kStaleTerm, "gone"); };
  EXPECT_EQ(GetReason(Train(Job("a", 10), callbacks).status()), Reason::kStaleTerm);
}

TEST_F(RuntimeJobsTest, CancelStopsWithinOneSlice) {
  Gate gate;
  FakeEngine::Get().on_slice = [&](int64_t slice) {
    if (slice == 10) gate.Pass();
    return absl::OkStatus();
  };
  Start();
  std::thread training([&] { EXPECT_EQ(GetReason(Train(Job("a", 1'000'000)).status()), Reason::kCancelled); });
  gate.WaitUntilReached();
  runtime_->CancelJob("a");
  runtime_->CancelJob("unknown");
  gate.Open();
  training.join();
  EXPECT_EQ(FakeEngine::Get().trainer_slices, 11);
}

TEST_F(RuntimeJobsTest, AJobIsCancelledWhileAnotherIsPrepared) {
  Gate gate;
  FakeEngine::Get().on_create = [&](const auto&) { gate.Pass(); };
  StartWriter();
  std::thread first([&] { EXPECT_TRUE(Train(Job("first", 3)).ok()); });
  gate.WaitUntilReached();
  TrainJob second = Job("second", 3);
  second.base_digest = "writer";
  absl::Notification ended;
  const auto done = [&](const absl::StatusOr<std::filesystem::path>& result) {
    EXPECT_EQ(GetReason(result.status()), Reason::kCancelled);
    ended.Notify();
  };
  ASSERT_TRUE(runtime_->StartTraining(std::move(second), {.done = done}).ok());
  runtime_->CancelJob("second");
  EXPECT_TRUE(ended.WaitForNotificationWithTimeout(absl::Seconds(60))) << "it waits for the first";
  runtime_->UnloadBase("writer");
  // Nothing of it is left.
  while (ended.HasBeenNotified() && !runtime_->unloading_bases().empty()) std::this_thread::yield();
  gate.Open();
  first.join();
  ended.WaitForNotification();
}

TEST_F(RuntimeJobsTest, AJobIsCancelledWhileItIsPrepared) {
  Gate gate;
  bool asked = false, seen = false;
  FakeEngine::Get().on_create = [&](const std::function<bool()>& cancelled) {
    if (asked) return;
    asked = true;
    EXPECT_FALSE(cancelled());
    gate.Pass();
    seen = cancelled();
  };
  Start();
  std::thread training([&] { EXPECT_EQ(GetReason(Train(Job("a", 3)).status()), Reason::kCancelled); });
  gate.WaitUntilReached();
  runtime_->CancelJob("a");
  gate.Open();
  training.join();
  EXPECT_TRUE(seen);
  EXPECT_EQ(FakeEngine::Get().trainer_slices, 0);
  EXPECT_TRUE(Train(Job("a", 3)).ok()) << "the name is free again";
}

TEST_F(RuntimeJobsTest, ABrokenSliceFailsTheJobAlone) {
  FakeEngine::Get().on_slice = [](int64_t slice) {
    return slice == 5 ? TenonError(Reason::kLossNotFinite, "step 2: the loss is NaN") : absl::OkStatus();
  };
  Start();
  EXPECT_EQ(GetReason(Train(Job("a", 10)).status()), Reason::kLossNotFinite);
  FakeEngine::Get().on_slice = nullptr;
  EXPECT_TRUE(Train(Job("a", 10)).ok()) << "the name is free again";
  EXPECT_TRUE(Call(Embed({"x"})).ok());
}

TEST_F(RuntimeJobsTest, WhatIsWrongWithAJobIsSaidAtItsEnd) {
  Start();
  TrainJob job = Job("a", 10);
  job.options.learning_rate = -1;
  EXPECT_EQ(GetReason(Train(std::move(job)).status()), Reason::kOptionInvalid);
  TrainJob elsewhere = Job("b", 10);
  elsewhere.base_digest = "other";
  EXPECT_EQ(GetReason(runtime_->StartTraining(std::move(elsewhere), {})), Reason::kNoWorker);
}

TEST_F(RuntimeJobsTest, ARunningJobsIdIsTaken) {
  Gate gate;
  FakeEngine::Get().on_slice = [&](int64_t slice) {
    if (slice == 0) gate.Pass();
    return absl::OkStatus();
  };
  Start();
  std::thread training([&] { EXPECT_TRUE(Train(Job("a", 3)).ok()); });
  gate.WaitUntilReached();
  EXPECT_EQ(GetReason(runtime_->StartTraining(Job("a", 3), {})), Reason::kAlreadyExists);
  gate.Open();
  training.join();
}

TEST_F(RuntimeJobsTest, TwoJobsTakeTurns) {
  Start();
  // Neither ends by itself: the test hangs when one has to wait for the other's end.
  std::atomic<int> steps[2] = {0, 0};
  const auto watch = [&](int job) {
    TrainCallbacks callbacks;
    callbacks.update = [this, &steps, job](const engine::TrainUpdate&) {
      ++steps[job];
      if (steps[0] < 100 || steps[1] < 100) return;
      runtime_->CancelJob("a");
      runtime_->CancelJob("b");
    };
    return callbacks;
  };
  std::thread one([&] { EXPECT_EQ(GetReason(Train(Job("a", 1LL << 40), watch(0)).status()), Reason::kCancelled); });
  std::thread two([&] { EXPECT_EQ(GetReason(Train(Job("b", 1LL << 40), watch(1)).status()), Reason::kCancelled); });
  one.join();
  two.join();
}

}  // namespace
}  // namespace tenon::runtime
