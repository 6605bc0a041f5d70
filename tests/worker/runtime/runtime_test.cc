#include "worker/runtime/runtime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "common/formats/status.h"
#include "tests/worker/runtime/runtime_fixture.h"

namespace tenon::runtime {
namespace {

using tenon::testing::FakeEngine;
using ::testing::ElementsAre;
using RuntimeTest = RuntimeFixture;

TEST_F(RuntimeTest, AnswersRowsInOrderWithTheirTokens) {
  Start();
  const auto reply = Call(Embed({"5 x x", "6"}));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(reply->rows[0].values, ElementsAre(4, -1, 5, 1005));
  EXPECT_THAT(reply->rows[1].values, ElementsAre(4, -1, 3, 1006));
  EXPECT_EQ(reply->rows[0].input_tokens, 5);
  EXPECT_FALSE(reply->rows[0].truncated);
}

TEST_F(RuntimeTest, ALongCallIsSplitAndComesBackWhole) {
  options_.max_batch_tokens = 64;
  Start();
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i) {
    texts.push_back(absl::StrCat(i));
    for (int word = 0; word < i % 40; ++word) absl::StrAppend(&texts.back(), " x");
  }
  const auto reply = Call(Embed(texts));
  ASSERT_TRUE(reply.ok());
  for (int i = 0; i < 500; ++i) EXPECT_EQ(reply->rows[i].values[3], 1000 + i);
  EXPECT_GT(batches_, 100);
}

TEST_F(RuntimeTest, AResultThatIsNotFiniteFailsItsOwnCall) {
  Gate gate;
  FakeEngine::Get().on_infer = [&](const std::vector<engine::InferRow>& rows) {
    if (rows.size() == 1) gate.Pass();
    return absl::OkStatus();
  };
  Start();
  absl::Notification done;
  runtime_->Submit(Embed({"1"}), [&](const auto&) { done.Notify(); });
  gate.WaitUntilReached();
  // One batch for both, as soon as the first call lets it.
  absl::StatusOr<InferenceReply> good, bad;
  absl::Notification good_done, bad_done;
  const std::string overflow = absl::StrCat(tenon::testing::kFakeOverflow);
  runtime_->Submit(Classify("head-3", {"5", "6", overflow, "7"}), [&](const auto& reply) {
    bad = reply;
    bad_done.Notify();
  });
  runtime_->Submit(Classify("head-3", {"8", "9"}), [&](const auto& reply) {
    good = reply;
    good_done.Notify();
  });
  gate.Open();
  bad_done.WaitForNotification();
  good_done.WaitForNotification();
  done.WaitForNotification();
  EXPECT_EQ(GetReason(bad.status()), Reason::kResultNotFinite);
  EXPECT_EQ(GetField(bad.status()), "texts[2]");
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ(Label(good->rows[1]), 3);
  EXPECT_EQ(GetReason(Call(Embed({overflow})).status()), Reason::kResultNotFinite);
  EXPECT_EQ(runtime_->stats().queued_rows, 0);
}

TEST_F(RuntimeTest, SaysWhichTextsWereCut) {
  Start();
  std::string text;
  for (int i = 0; i < 300; ++i) absl::StrAppend(&text, " x");
  const auto reply = Call(Embed({text}));
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->rows[0].input_tokens, 128);
  EXPECT_TRUE(reply->rows[0].truncated);
}

TEST_F(RuntimeTest, NoRowIsAnsweredByAnothersAdapter) {
  constexpr int kAdapters = 32, kThreads = 8, kRounds = 150;
  options_.device_adapters = 4;
  options_.host_adapter_bytes = 12'000;  // of 32,000: disk, memory and device all churn
  Start();
  std::atomic<int> wrong{0}, failed{0}, rows{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < kRounds; ++round) {
        const int adapter = (t * 7 + round * 13) % (kAdapters + 1);
        const bool base = adapter == kAdapters;
        std::vector<std::string> texts(1 + round % 5, absl::StrCat(round));
        const auto reply = Call(base ? Embed(texts) : Classify(absl::StrCat("head-", adapter), texts));
        failed += !reply.ok();
        if (!reply.ok()) continue;
        for (const InferenceRow& row : reply->rows) {
          ++rows;
          if (base) {
            wrong += row.values[1] != -1 || row.values[3] != 1000 + round;
          } else {
            wrong += Label(row) != adapter;
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(rows, kThreads * kRounds * 3);
  EXPECT_LE(FakeEngine::Get().most_device_live, 4);
  EXPECT_GT(disk_reads_, kAdapters);
  EXPECT_LE(runtime_->stats().adapters_on_device, 4);
}

TEST_F(RuntimeTest, WithRoomForAllNothingIsReadTwice) {
  options_.device_adapters = 8;
  Start();
  for (int round = 0; round < 5; ++round) {
    for (int adapter = 0; adapter < 8; ++adapter) {
      const auto reply = Call(Classify(absl::StrCat("head-", adapter), {"x"}));
      ASSERT_TRUE(reply.ok());
      EXPECT_EQ(Label(reply->rows[0]), adapter);
    }
  }
  EXPECT_EQ(disk_reads_, 8);
  EXPECT_EQ(gets_below_, 8);
  EXPECT_EQ(gets_on_device_, 32);
  EXPECT_EQ(runtime_->stats().adapters_on_device, 8);
}

TEST_F(RuntimeTest, AnUnloadedBaseGoesWithItsLastCall) {
  Gate gate;
  FakeEngine::Get().on_infer = [&](const auto&) {
    gate.Pass();
    return absl::OkStatus();
  };
  Start();
  ASSERT_TRUE(Call({.base_digest = "unknown", .texts = {"x"}}).status().code() == absl::StatusCode::kUnavailable);
  ASSERT_TRUE(runtime_->LoadBase("other", "/fake/other").ok());
  absl::Notification first, second;
  runtime_->Submit(Embed({"x"}), [&](const auto& reply) {
    EXPECT_TRUE(reply.ok()) << reply.status();
    first.Notify();
  });
  gate.WaitUntilReached();
  runtime_->Submit(Classify("head-3", {"x"}), [&](const auto& reply) {  // its adapter is on disk yet
    EXPECT_TRUE(reply.ok()) << reply.status();
    second.Notify();
  });
  runtime_->UnloadBase("base");
  EXPECT_THAT(runtime_->bases(), ElementsAre("other"));
  EXPECT_THAT(runtime_->unloading_bases(), ElementsAre("base"));
  EXPECT_EQ(runtime_->StartTraining({.id = "j", .base_digest = "base"}, {}).code(), absl::StatusCode::kUnavailable);
  gate.Open();
  first.WaitForNotification();
  second.WaitForNotification();
  EXPECT_EQ(GetReason(Call(Embed({"x"})).status()), Reason::kNoWorker);
  InferenceCall behind = Embed({"x"});  // whoever answered the call before has let go of it then
  behind.base_digest = "other";
  EXPECT_TRUE(Call(behind).ok());
  EXPECT_THAT(runtime_->unloading_bases(), ::testing::IsEmpty());
  ASSERT_TRUE(runtime_->LoadBase("base", "/fake/base").ok());
  EXPECT_TRUE(Call(Classify("head-3", {"x"})).ok());
  EXPECT_TRUE(Call(behind).ok());
  runtime_->UnloadBase("base");
  EXPECT_THAT(runtime_->unloading_bases(), ::testing::IsEmpty()) << "nobody uses it";
}

TEST_F(RuntimeTest, ABaseLoadedBehindAnUnloadSharesNoBatchWithAnother) {
  Gate gate;
  std::atomic<bool> open = true;
  FakeEngine::Get().on_infer = [&](const auto&) {
    if (!open) gate.Pass();
    return absl::OkStatus();
  };
  Start();
  for (const std::string base : {"b2", "b3"}) ASSERT_TRUE(runtime_->LoadBase(base, "/fake/" + base).ok());
  runtime_->UnloadBase("b2");
  ASSERT_TRUE(runtime_->LoadBase("b4", "/fake/b4").ok());
  open = false;
  const auto embed = [](const std::string& base) {
    return InferenceCall{.base_digest = base, .output = engine::Output::kEmbedding, .texts = {"x"}};
  };
  std::atomic<int> answers = 0;
  absl::Notification all;
  const auto count = [&](const auto&) {
    if (++answers == 3) all.Notify();
  };
  runtime_->Submit(embed("base"), count);
  gate.WaitUntilReached();
  runtime_->Submit(embed("b3"), count);
  runtime_->Submit(embed("b4"), count);
  while (runtime_->stats().queued_rows < 2) std::this_thread::yield();
  open = true;
  gate.Open();
  all.WaitForNotification();
  EXPECT_EQ(batches_, 3);
}

TEST_F(RuntimeTest, AMissHoldsUpNobodyElse) {
  Gate gate;
  FakeEngine::Get().on_load = [&](const std::string& name) {
    if (name == "head-1") gate.Pass();
    return absl::OkStatus();
  };
  Start();
  absl::Notification slow;
  runtime_->Submit(Classify("head-1", {"x"}), [&](absl::StatusOr<InferenceReply> reply) {
    EXPECT_TRUE(reply.ok());
    slow.Notify();
  });
  gate.WaitUntilReached();
  EXPECT_TRUE(Call(Classify("head-2", {"x"})).ok());
  EXPECT_TRUE(Call(Embed({"x"})).ok());
  EXPECT_FALSE(slow.HasBeenNotified());
  gate.Open();
  slow.WaitForNotification();
}

TEST_F(RuntimeTest, CallsThatArriveMeanwhileShareABatch) {
  Gate gate;
  FakeEngine::Get().on_infer = [&](const auto&) {
    gate.Pass();
    return absl::OkStatus();
  };
  Start();
  std::atomic<int> left{17};
  absl::Notification all;
  const auto done = [&](absl::StatusOr<InferenceReply> reply) {
    EXPECT_TRUE(reply.ok());
    if (--left == 0) all.Notify();
  };
  runtime_->Submit(Embed({"x"}), done);
  gate.WaitUntilReached();
  for (int i = 0; i < 16; ++i) runtime_->Submit(Embed({"x"}), done);
  while (runtime_->stats().queued_rows < 16) std::this_thread::yield();
  gate.Open();
  all.WaitForNotification();
  EXPECT_EQ(batches_, 2);
  EXPECT_EQ(batched_rows_, 17);
}

TEST_F(RuntimeTest, APassedDeadlineIsAnsweredAndNotComputed) {
  Gate gate;
  FakeEngine::Get().on_infer = [&](const auto& rows) {
    EXPECT_NE(rows[0].ids->at(1), 1077);
    gate.Pass();
    return absl::OkStatus();
  };
  Start();
  runtime_->Submit(Embed({"1"}), [](const auto&) {});
  gate.WaitUntilReached();
  absl::Notification done;
  InferenceCall late = Embed({"77"});
  late.deadline = absl::Now() + absl::Milliseconds(1);
  runtime_->Submit(late, [&](const absl::StatusOr<InferenceReply>& reply) {
    EXPECT_EQ(GetReason(reply.status()), Reason::kDeadlineExceeded);
    done.Notify();
  });
  while (absl::Now() <= late.deadline) std::this_thread::yield();
  gate.Open();
  done.WaitForNotification();
  EXPECT_EQ(runtime_->stats().queued_tokens, 0);
}

TEST_F(RuntimeTest, ADeadlineWakesAnIdleDevice) {
  Gate gate;
  FakeEngine::Get().on_load = [&](const std::string&) {
    gate.Pass();
    return absl::OkStatus();
  };
  Start();
  InferenceCall call = Classify("head-1", {"x"});
  call.deadline = absl::Now() + absl::Milliseconds(20);
  EXPECT_EQ(GetReason(Call(call).status()), Reason::kDeadlineExceeded);
  gate.Open();
}

TEST_F(RuntimeTest, ACancelledCallIsDroppedAndNotAnswered) {
  Gate gate;
  std::atomic<int> answered{0}, computed{0};
  FakeEngine::Get().on_infer = [&](const auto& rows) {
    gate.Pass();
    computed += static_cast<int>(rows.size());
    return absl::OkStatus();
  };
  Start();
  const uint64_t running = runtime_->Submit(Embed({"1"}), [&](const auto&) { ++answered; });
  gate.WaitUntilReached();
  const uint64_t queued = runtime_->Submit(Embed({"2", "3"}), [&](const auto&) { ++answered; });
  while (runtime_->stats().queued_rows < 2) std::this_thread::yield();
  runtime_->Cancel(queued);
  runtime_->Cancel(running);
  runtime_->Cancel(999);
  EXPECT_EQ(runtime_->stats().queued_rows, 0);
  gate.Open();
  EXPECT_TRUE(Call(Embed({"4"})).ok());
  EXPECT_EQ(answered, 0);
  EXPECT_EQ(computed, 2) << "the one that ran, and the last";
}

TEST_F(RuntimeTest, AFullQueueRefuses) {
  Gate gate;
  FakeEngine::Get().on_infer = [&](const auto&) {
    gate.Pass();
    return absl::OkStatus();
  };
  options_.max_queued_tokens = 50;
  Start();
  std::atomic<int> done{0};
  runtime_->Submit(Embed({"1"}), [&](const auto&) { ++done; });
  gate.WaitUntilReached();
  runtime_->Submit(Embed({std::string(160, 'x')}), [&](const auto&) { ++done; });
  absl::Notification refused;
  runtime_->Submit(Embed({std::string(100, 'x')}), [&](const absl::StatusOr<InferenceReply>& reply) {
    EXPECT_EQ(GetReason(reply.status()), reply.ok() ? Reason::kUnspecified : Reason::kQueueFull);
    refused.Notify();
  });
  gate.Open();
  refused.WaitForNotification();
  EXPECT_TRUE(Call(Embed({"2"})).ok()) << "there is room again";
}

TEST_F(RuntimeTest, AnAdapterThatCannotBeReadFailsItsOwnCallsAlone) {
  Start();
  EXPECT_EQ(GetReason(Call(Classify("broken", {"x"})).status()), Reason::kAdapterInvalid);
  EXPECT_EQ(GetReason(Call(Classify("broken", {"x"})).status()), Reason::kAdapterInvalid);
  EXPECT_TRUE(Call(Classify("head-3", {"x"})).ok());
}

TEST_F(RuntimeTest, OneCallsErrorIsNotItsNeighbours) {
  Gate gate;
  std::atomic<bool> first{true};
  FakeEngine::Get().on_infer = [&](const std::vector<engine::InferRow>& rows) -> absl::Status {
    if (first.exchange(false)) gate.Pass();
    for (const auto& row : rows) {
      if (row.ids->at(1) == 1013) return TenonError(Reason::kInternal, "thirteen");
    }
    return absl::OkStatus();
  };
  Start();
  runtime_->Submit(Embed({"1"}), [](const auto&) {});
  gate.WaitUntilReached();
  std::atomic<int> good{0}, bad{0}, left{9};
  absl::Notification all;
  for (int i = 10; i < 19; ++i) {
    runtime_->Submit(Embed({absl::StrCat(i), "5"}), [&](const absl::StatusOr<InferenceReply>& reply) {
      ++(reply.ok() ? good : bad);
      if (--left == 0) all.Notify();
    });
  }
  while (runtime_->stats().queued_rows < 18) std::this_thread::yield();
  gate.Open();
  all.WaitForNotification();
  EXPECT_EQ(good, 8);
  EXPECT_EQ(bad, 1);
}

TEST_F(RuntimeTest, ABatchThatDoesNotFitIsHalved) {
  FakeEngine::Get().on_infer = [](const auto& rows) {
    return rows.size() > 3 ? TenonError(Reason::kOutOfMemory, "no room") : absl::OkStatus();
  };
  Start();
  std::vector<std::string> texts;
  for (int i = 0; i < 20; ++i) texts.push_back(absl::StrCat(i));
  const auto reply = Call(Embed(texts));
  ASSERT_TRUE(reply.ok()) << reply.status();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(reply->rows[i].values[3], 1000 + i);
}

TEST_F(RuntimeTest, OutOfMemoryForOneRowIsAStatusAndTheWorkerLivesOn) {
  std::atomic<bool> full{true};
  FakeEngine::Get().on_infer = [&](const auto&) {
    return full ? TenonError(Reason::kOutOfMemory, "no room") : absl::OkStatus();
  };
  Start();
  EXPECT_EQ(GetReason(Call(Embed({"1", "2"})).status()), Reason::kOutOfMemory);
  full = false;
  EXPECT_TRUE(Call(Embed({"1"})).ok());
}

TEST_F(RuntimeTest, LabelsNeedAHead) {
  Start();
  ASSERT_TRUE(runtime_->LoadBase("second", "/fake/classifier").ok());
  EXPECT_EQ(GetReason(Call(Classify("", {"x"})).status()), Reason::kNoClassifier);
  EXPECT_EQ(GetReason(Call(Classify("plain", {"x"})).status()), Reason::kNoClassifier);
  InferenceCall call = Classify("", {"x"});
  call.base_digest = "second";
  const auto reply = Call(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(reply->adapter.labels, ElementsAre("a", "b"));
}

TEST_F(RuntimeTest, ACheckLoadsTheAdapterAndSaysWhatItIs) {
  Start();
  const auto reply = Call(Classify("head-7", {}));
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->adapter.labels.size(), 64u);
  EXPECT_EQ(reply->adapter.method, "lora");
  EXPECT_EQ(runtime_->stats().adapters_on_device, 0);
  EXPECT_EQ(GetReason(Call(Classify("broken", {})).status()), Reason::kAdapterInvalid);
}

TEST_F(RuntimeTest, ABaseThatIsNotHereIsRefused) {
  Start();
  InferenceCall call = Embed({"x"});
  call.base_digest = "other";
  EXPECT_EQ(GetReason(Call(call).status()), Reason::kNoWorker);
  EXPECT_EQ(GetReason(runtime_->LoadBase("other", "/fake/broken")), Reason::kBaseInvalid);
  EXPECT_THAT(runtime_->bases(), ElementsAre("base"));
}

TEST_F(RuntimeTest, EndsWithCallsInEveryState) {
  FakeEngine::Get().on_load = [](const std::string& name) {
    return name == "head-9" ? TenonError(Reason::kInternal, "never") : absl::OkStatus();
  };
  Start();
  for (int i = 0; i < 200; ++i) {
    runtime_->Submit(i % 2 ? Embed({"1"}) : Classify(absl::StrCat("head-", i % 12), {"x"}), [](const auto&) {});
  }
  runtime_.reset();
}

}  // namespace
}  // namespace tenon::runtime
