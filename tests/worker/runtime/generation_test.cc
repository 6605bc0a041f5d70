// Generation through the runtime, over the fake engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "absl/strings/str_join.h"
#include "common/formats/status.h"
#include "tests/worker/runtime/runtime_fixture.h"

namespace tenon::runtime {
namespace {

using tenon::testing::FakeEngine;
using tenon::testing::FakeLine;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class GenerationTest : public RuntimeFixture {
 protected:
  GenerationTest() {
    observer_.slice = [this](const std::string& kind, absl::Duration) {
      absl::MutexLock lock(&slices_mutex_);
      ++slices_[kind];
    };
  }
  int64_t Slices(const std::string& kind) {
    absl::MutexLock lock(&slices_mutex_);
    return slices_[kind];
  }
  absl::Mutex slices_mutex_;
  std::map<std::string, int64_t> slices_;
};

TEST_F(GenerationTest, AnswersRowsInOrderWithTheirTokens) {
  StartWriter();
  const auto reply = Generate(Write("", {"5 6 7", "8", "x x"}));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(Texts(*reply), ElementsAre("5 6 7", "8", ""));
  EXPECT_EQ(reply->rows[0].input_tokens, 4);
  EXPECT_EQ(reply->rows[0].output_tokens, 4) << "the end of the sequence is written, too";
  EXPECT_EQ(reply->rows[1].output_tokens, 2);
  EXPECT_EQ(reply->rows[0].sequences[0].reason, engine::FinishReason::kEos);
  EXPECT_FALSE(reply->rows[0].truncated);
  EXPECT_GT(reply->compute_time, absl::ZeroDuration());
  runtime_.reset();  // the slice that answered has ended then, too
  EXPECT_EQ(Slices("generate"), 4) << "a token of every row each";
}

TEST_F(GenerationTest, AdaptersMixInAStepAndEachRowHasItsOwn) {
  Gate gate;
  std::atomic<size_t> widest{0};
  std::set<int64_t> together;
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>& lines) {
    gate.Pass();
    widest = std::max<size_t>(widest, lines.size());
    if (lines.size() > together.size()) {
      together.clear();
      for (const FakeLine& line : lines) together.insert(line.answer);
    }
    return absl::OkStatus();
  };
  StartWriter();
  std::vector<Pending> calls(6);
  Submit(Write("", {"1 1"}), calls[0]);
  gate.WaitUntilReached();
  for (int i = 1; i < 6; ++i) Submit(Write(absl::StrCat("head-", i), {absl::StrCat(i, " 0")}), calls[i]);
  while (runtime_->stats().queued_rows < 5 || runtime_->stats().adapters_on_device < 5) std::this_thread::yield();
  gate.Open();
  for (int i = 0; i < 6; ++i) {
    calls[i].done.WaitForNotification();
    ASSERT_TRUE(calls[i].reply.ok()) << calls[i].reply.status();
    EXPECT_THAT(Texts(*calls[i].reply), ElementsAre(i == 0 ? "1 1" : absl::StrCat(900 + i, " ", i, " 0")));
  }
  EXPECT_EQ(widest, 6u) << "they joined beside the one that ran";
  EXPECT_THAT(together, ElementsAre(-1, 1, 2, 3, 4, 5));
}

TEST_F(GenerationTest, ARowThatOverflowsFailsItsOwnCall) {
  Gate gate;
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>&) {
    gate.Pass();
    return absl::OkStatus();
  };
  StartWriter();
  std::vector<Pending> calls(3);
  Submit(Write("", {"1 on"}), calls[0]);
  gate.WaitUntilReached();
  Submit(Write("head-3", {"5 on", "6", absl::StrCat(tenon::testing::kFakeOverflow), "7"}), calls[1]);
  Submit(Write("head-3", {"8 9"}), calls[2]);
  while (runtime_->stats().queued_rows < 5) std::this_thread::yield();
  gate.Open();
  for (const int i : {1, 2}) calls[i].done.WaitForNotification();
  EXPECT_EQ(GetReason(calls[1].reply.status()), Reason::kResultNotFinite) << calls[1].reply.status();
  EXPECT_EQ(GetField(calls[1].reply.status()), "texts[2]");
  ASSERT_TRUE(calls[2].reply.ok()) << calls[2].reply.status();
  EXPECT_THAT(Texts(*calls[2].reply), ElementsAre("903 8 9"));
  calls[0].done.WaitForNotification();
  EXPECT_TRUE(calls[0].reply.ok()) << calls[0].reply.status();
  EXPECT_EQ(runtime_->stats().queued_rows, 0);
}

TEST_F(GenerationTest, ARowWhoseAdapterIsNotHereHoldsUpNobody) {
  Gate load;
  FakeEngine::Get().on_load = [&](const std::string& name) {
    if (name == "head-9") load.Pass();
    return absl::OkStatus();
  };
  StartWriter();
  Pending slow;
  Submit(Write("head-9", {"1"}), slow);
  load.WaitUntilReached();
  const auto reply = Generate(Write("head-2", {"7"}));
  ASSERT_TRUE(reply.ok());
  EXPECT_THAT(Texts(*reply), ElementsAre("902 7"));
  EXPECT_FALSE(slow.done.HasBeenNotified());
  load.Open();
  slow.done.WaitForNotification();
  EXPECT_THAT(Texts(*slow.reply), ElementsAre("909 1"));
}

TEST_F(GenerationTest, AdaptersTakeTurnsOnFewSlots) {
  options_.device_adapters = 2;
  options_.max_decoder_lines = 4;
  StartWriter();
  // One call keeps its slot busy for long; the others still get theirs.
  Pending longest;
  Submit(Write("head-1", std::vector<std::string>(400, "on"), 50), longest);
  Pending second;
  Submit(Write("head-2", std::vector<std::string>(400, "on"), 50), second);
  std::vector<Pending> calls(20);
  for (int i = 0; i < 20; ++i) Submit(Write(absl::StrCat("head-", 3 + i), {"7", "8"}), calls[i]);
  for (int i = 0; i < 20; ++i) {
    calls[i].done.WaitForNotification();
    ASSERT_TRUE(calls[i].reply.ok()) << calls[i].reply.status();
    EXPECT_THAT(Texts(*calls[i].reply), ElementsAre(absl::StrCat(903 + i, " 7"), absl::StrCat(903 + i, " 8")));
  }
  longest.done.WaitForNotification();
  second.done.WaitForNotification();
  EXPECT_TRUE(longest.reply.ok() && second.reply.ok());
  EXPECT_LE(FakeEngine::Get().most_device_live, 2);
}

TEST_F(GenerationTest, StreamedPiecesAreTheText) {
  StartWriter();
  GenerationCall call = Write("head-4", {"5 6 7 8"});
  call.stream = true;
  Pending pending;
  Submit(call, pending);
  pending.done.WaitForNotification();
  ASSERT_TRUE(pending.reply.ok()) << pending.reply.status();
  EXPECT_EQ(Texts(*pending.reply)[0], "904 5 6 7 8");
  EXPECT_EQ(absl::StrJoin(pending.deltas, ""), "904 5 6 7 8");
  EXPECT_GE(pending.deltas.size(), 4u);
  call.options.stop_strings = {"6 7"};
  Pending stopped;
  Submit(call, stopped);
  stopped.done.WaitForNotification();
  EXPECT_EQ(absl::StrJoin(stopped.deltas, ""), "904 5 ");
  EXPECT_EQ(stopped.reply->rows[0].sequences[0].reason, engine::FinishReason::kStopString);
}

TEST_F(GenerationTest, ACancelledCallsLinesAreFreeBeforeTheNextStep) {
  Gate gate;
  std::vector<size_t> lines_seen;
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>& lines) {
    lines_seen.push_back(lines.size());
    if (lines_seen.size() == 3) gate.Pass();
    return absl::OkStatus();
  };
  StartWriter();
  Pending kept, dropped;
  std::atomic<int> joined{0};
  FakeEngine::Get().on_join = [&](int64_t, const auto&) {
    ++joined;
    return absl::OkStatus();
  };
  Submit(Write("head-1", {"on", "on", "on"}, 1000), dropped);
  while (joined == 0) std::this_thread::yield();
  Submit(Write("", {"on"}, 30), kept);
  gate.WaitUntilReached();
  const size_t before = lines_seen.size();
  runtime_->Cancel(dropped.id);
  runtime_->Cancel(123456);
  gate.Open();
  kept.done.WaitForNotification();
  EXPECT_EQ(lines_seen[before], 1u) << "the step behind the one that ran";
  EXPECT_EQ(kept.reply->rows[0].output_tokens, 30);
  EXPECT_FALSE(dropped.done.HasBeenNotified());
  EXPECT_EQ(runtime_->stats().queued_rows, 0);
}

TEST_F(GenerationTest, RowsThatWaitAreCancelledAndEndAtTheirDeadline) {
  Gate gate;
  FakeEngine::Get().on_step = [&](const auto&) {
    gate.Pass();
    return absl::OkStatus();
  };
  ManualClock clock;
  options_.clock = &clock;
  options_.max_decoder_lines = 1;
  StartWriter();
  Pending running, waiting, late;
  GenerationCall call = Write("", {"on"}, 1000);
  call.deadline = clock.Now() + absl::Seconds(5);
  Submit(call, running);
  gate.WaitUntilReached();
  Submit(Write("", {"1"}), waiting);
  call = Write("", {"2"});
  call.deadline = clock.Now() + absl::Seconds(1);
  Submit(call, late);
  while (runtime_->stats().queued_rows < 2) std::this_thread::yield();
  runtime_->Cancel(waiting.id);
  EXPECT_EQ(runtime_->stats().queued_rows, 1);
  clock.Advance(absl::Seconds(6));
  gate.Open();
  late.done.WaitForNotification();
  running.done.WaitForNotification();
  EXPECT_EQ(GetReason(late.reply.status()), Reason::kDeadlineExceeded);
  EXPECT_EQ(GetReason(running.reply.status()), Reason::kDeadlineExceeded);
  EXPECT_LE(FakeEngine::Get().steps, 2) << "it stopped within a step";
  EXPECT_TRUE(Generate(Write("", {"3"})).ok());
  EXPECT_FALSE(waiting.done.HasBeenNotified());
  runtime_.reset();  // before its clock
}

TEST_F(GenerationTest, AStepsErrorFailsTheCallsOfThatBatchAndTheNextOnesRun) {
  std::atomic<bool> broken{true};
  Gate gate;
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>& lines) -> absl::Status {
    gate.Pass();
    if (broken && lines.size() == 2) return TenonError(Reason::kInternal, "a kernel failed");
    return absl::OkStatus();
  };
  StartWriter();
  Pending first, second;
  Submit(Write("", {"1 1"}), first);
  gate.WaitUntilReached();
  Submit(Write("head-1", {"2 2"}), second);
  while (runtime_->stats().queued_rows < 1 || runtime_->stats().adapters_on_device < 1) std::this_thread::yield();
  gate.Open();
  first.done.WaitForNotification();
  second.done.WaitForNotification();
  for (const Pending* one : {&first, &second}) {
    EXPECT_EQ(GetReason(one->reply.status()), Reason::kInternal);
    EXPECT_THAT(std::string(one->reply.status().message()), HasSubstr("a kernel failed"));
    EXPECT_THAT(std::string(one->reply.status().message()), HasSubstr("decoder failed"));
  }
  broken = false;
  EXPECT_THAT(Texts(*Generate(Write("head-1", {"2 2"}))), ElementsAre("901 2 2"));
}

TEST_F(GenerationTest, AJoinWithoutMemoryWaitsForTheOthersElseItFails) {
  FakeEngine::Get().on_join = [](int64_t lines, const std::vector<FakeLine>& joining) {
    return lines + static_cast<int64_t>(joining.size()) > 2 || joining[0].ids.size() > 20
               ? TenonError(Reason::kOutOfMemory, "no room")
               : absl::OkStatus();
  };
  StartWriter();
  const auto reply = Generate(Write("", {"1 1", "2", "3 3 3", "4", "5"}));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(Texts(*reply), ElementsAre("1 1", "2", "3 3 3", "4", "5"));
  EXPECT_EQ(GetReason(Generate(Write("", {absl::StrJoin(std::vector<int>(30, 1), " ")})).status()),
            Reason::kOutOfMemory);
  EXPECT_TRUE(Generate(Write("", {"1"})).ok());
}

TEST_F(GenerationTest, OneRequestsErrorAtTheJoinIsNotItsNeighbours) {
  Gate gate;
  std::atomic<bool> first{true};
  FakeEngine::Get().on_step = [&](const auto&) {
    if (first.exchange(false)) gate.Pass();
    return absl::OkStatus();
  };
  FakeEngine::Get().on_join = [](int64_t, const std::vector<FakeLine>& joining) {
    for (const FakeLine& line : joining) {
      if (line.ids[0] == tenon::testing::FakeToken(13)) return TenonError(Reason::kInternal, "thirteen");
    }
    return absl::OkStatus();
  };
  StartWriter();
  std::vector<Pending> calls(4);
  Submit(Write("", {"1"}), calls[0]);
  gate.WaitUntilReached();
  for (int i = 1; i < 4; ++i) Submit(Write("", {absl::StrCat(11 + i)}), calls[i]);
  while (runtime_->stats().queued_rows < 3) std::this_thread::yield();
  gate.Open();
  for (Pending& call : calls) call.done.WaitForNotification();
  EXPECT_TRUE(calls[1].reply.ok());
  EXPECT_EQ(GetReason(calls[2].reply.status()), Reason::kInternal);
  EXPECT_TRUE(calls[3].reply.ok());
}

TEST_F(GenerationTest, WhatNeverFitsIsRefusedAndWhatFitsLaterWaits) {
  options_.max_decoder_lines = 2;
  options_.max_decoder_tokens = 100;
  StartWriter();
  const auto never = Generate(Write("", {"1"}, 200)).status();
  EXPECT_EQ(GetReason(never), Reason::kFieldInvalid);
  EXPECT_EQ(GetField(never), "max_new_tokens");
  std::vector<std::string> texts, expected;
  for (int i = 0; i < 9; ++i) texts.push_back(absl::StrCat(i, " ", i));
  const auto reply = Generate(Write("", texts));
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(Texts(*reply), texts);
}

TEST_F(GenerationTest, AnIdleDecoderLetsGoOfItsMemory) {
  StartWriter();
  ASSERT_TRUE(runtime_->LoadBase("writer-2", "/fake/writer-2").ok());
  Gate gate;
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>& lines) {
    if (lines[0].base == "writer") gate.Pass();
    return absl::OkStatus();
  };
  Pending first;
  Submit(Write("", {"1"}), first);
  gate.WaitUntilReached();
  EXPECT_EQ(FakeEngine::Get().decoders_live, 1);
  gate.Open();
  GenerationCall call = Write("", {"2"});
  call.base_digest = "writer-2";
  EXPECT_TRUE(Generate(call).ok());
  first.done.WaitForNotification();
  while (FakeEngine::Get().decoders_live > 0) std::this_thread::yield();
}

TEST_F(GenerationTest, BasesTakeTurnsAndEncoderBatchesRunBetweenSteps) {
  StartWriter();
  ASSERT_TRUE(runtime_->LoadBase("writer-2", "/fake/writer-2").ok());
  std::map<std::string, int> steps;
  std::atomic<bool> both{false};
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>& lines) {
    ++steps[lines[0].base];
    both = steps.size() == 2 && steps["writer"] > 5 && steps["writer-2"] > 5;
    return absl::OkStatus();
  };
  Pending first, second;
  GenerationCall call = Write("", {"on"}, 60'000);
  Submit(call, first);
  call.base_digest = "writer-2";
  Submit(call, second);
  while (!both) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Call(Embed({"5"})).ok());
  EXPECT_FALSE(first.done.HasBeenNotified());
  EXPECT_FALSE(second.done.HasBeenNotified());
  runtime_->Cancel(first.id);
  runtime_->Cancel(second.id);
}

TEST_F(GenerationTest, TrainingKeepsItsShare) {
  StartWriter();
  Pending writing;
  Submit(Write("", {"on"}, 60'000), writing);
  TrainJob job{.id = "j", .name = "finetuneJobs/j", .base_digest = "base"};
  job.options.max_steps = 5;
  job.options.learning_rate = 1;
  job.data.train.push_back({"row", {0}});
  absl::Notification trained;
  TrainCallbacks callbacks;
  callbacks.done = [&](const auto& folder) {
    EXPECT_TRUE(folder.ok()) << folder.status();
    trained.Notify();
  };
  ASSERT_TRUE(runtime_->StartTraining(std::move(job), callbacks).ok());
  trained.WaitForNotification();
  runtime_->Cancel(writing.id);
}

TEST_F(GenerationTest, ALongCallLeavesLinesToAShortOne) {
  options_.max_decoder_lines = 4;
  Gate gate;
  int step = 0, short_one = 0;
  FakeEngine::Get().on_step = [&](const std::vector<FakeLine>& lines) {
    gate.Pass();
    ++step;
    for (const FakeLine& line : lines) {
      if (short_one == 0 && line.ids[0] == tenon::testing::FakeToken(7)) short_one = step;
    }
    return absl::OkStatus();
  };
  StartWriter();
  Pending longest, shorter;
  Submit(Write("", std::vector<std::string>(200, "on"), 10), longest);
  gate.WaitUntilReached();
  Submit(Write("", {"7"}), shorter);
  while (runtime_->stats().queued_rows < 197) std::this_thread::yield();
  gate.Open();
  shorter.done.WaitForNotification();
  longest.done.WaitForNotification();
  EXPECT_EQ(short_one, 11) << "the first line that came free was its";
  EXPECT_THAT(longest.reply->rows, SizeIs(200));
}

TEST_F(GenerationTest, SeedsGiveTheSameDrawsAndNoneGivesOthers) {
  StartWriter();
  GenerationCall call = Write("", {"5", "5"});
  call.options.do_sample = true;
  call.options.seed = 42;
  const auto seeded = Generate(call);
  ASSERT_TRUE(seeded.ok()) << seeded.status();
  EXPECT_THAT(Texts(*seeded), ElementsAre("42 5", "42 5"));
  call.options.seed.reset();
  call.texts = std::vector<std::string>(50, "5");
  const auto drawn = Generate(call);
  const std::vector<std::string> texts = Texts(*drawn);
  EXPECT_GT(std::set<std::string>(texts.begin(), texts.end()).size(), 10u);
}

TEST_F(GenerationTest, StepsAreObserved) {
  std::atomic<int64_t> lines{0}, read{0}, most_adapters{0};
  observer_.step = [&](int64_t step_lines, int64_t read_tokens, int64_t adapters, absl::Duration) {
    lines += step_lines;
    read += read_tokens;
    most_adapters = std::max<int64_t>(most_adapters, adapters);
  };
  StartWriter();
  ASSERT_TRUE(Generate(Write("head-1", {"1 2", "3"})).ok());
  EXPECT_EQ(lines, 4 + 3) << "the adapter's word and the end count";
  EXPECT_EQ(read, 3 + 2);
  EXPECT_EQ(most_adapters, 1);
}

TEST_F(GenerationTest, EndsWithCallsInEveryState) {
  StartWriter();
  for (int i = 0; i < 200; ++i) {
    GenerationCallbacks callbacks;
    callbacks.done = [](const auto&) {};
    runtime_->SubmitGeneration(Write(i % 2 ? "" : absl::StrCat("head-", i % 12), {"on", "1"}, 50 + i), callbacks);
  }
  runtime_.reset();
  EXPECT_EQ(FakeEngine::Get().decoders_live, 0);
  EXPECT_EQ(FakeEngine::Get().device_live, 0);
}

}  // namespace
}  // namespace tenon::runtime
