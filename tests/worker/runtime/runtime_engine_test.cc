// The runtime over the real engine and a tiny base: isolation, training beside inference, resumed runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/formats/status.h"
#include "tests/worker/engine/tiny_base.h"
#include "worker/runtime/runtime.h"

namespace tenon::runtime {
namespace {

namespace fs = std::filesystem;
using ::tenon::testing::TinyText;

constexpr int kAdapters = 32;
constexpr char kDigest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

std::string ReadAll(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class RuntimeEngineTest : public ::testing::Test, protected AdapterSource {
 protected:
  RuntimeEngineTest() {
    root_ = fs::path(::testing::TempDir()) /
            absl::StrCat("engine-", ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root_);
    testing::WriteTinyBase(root_ / "base", base_);
    options_.scratch = root_ / "scratch";
    options_.threads = 2;
    options_.max_batch_tokens = 512;
  }
  ~RuntimeEngineTest() override {
    runtime_.reset();
    fs::remove_all(root_);
  }
  void Start() {
    RuntimeObserver observer;
    observer.adapter_load = [this](const std::string& from, absl::Duration, bool) { disk_reads_ += from == "disk"; };
    auto runtime = Runtime::Create(options_, this, observer);
    ASSERT_TRUE(runtime.ok()) << runtime.status();
    runtime_ = *std::move(runtime);
    const absl::Status loaded = runtime_->LoadBase(kDigest, root_ / "base");
    ASSERT_TRUE(loaded.ok()) << loaded;
  }
  absl::StatusOr<fs::path> Fetch(const std::string& digest) override { return root_ / digest; }

  // Adapter `n` has labels of its own, `n/0` to `n/3`, and always answers one of them.
  void WriteAdapters() {
    for (int n = 0; n < kAdapters; ++n) {
      testing::TinyAdapter adapter;
      adapter.labels.clear();
      for (int label = 0; label < 4; ++label) adapter.labels.push_back(absl::StrCat(n, "/", label));
      adapter.r = 1 + n % 8;
      adapter.base_digest = kDigest;
      adapter.seed = static_cast<uint64_t>(n) + 1;
      adapter.favourite = n % 4;
      adapter.favour = 50;
      const fs::path folder = root_ / absl::StrCat("adapter-", n);
      if (n % 4 == 2) {
        testing::WriteTinyPrompt(folder, base_, adapter);
      } else if (n % 4 == 3) {
        testing::WriteTinyBottleneck(folder, base_, adapter, formats::BottleneckLayout::kSeqBn);
      } else {
        testing::WriteTinyLora(folder, base_, adapter);
      }
    }
  }
  absl::StatusOr<InferenceReply> Call(const std::string& adapter, std::vector<std::string> texts) {
    absl::Notification done;
    absl::StatusOr<InferenceReply> result = absl::UnknownError("");
    InferenceCall call{.base_digest = kDigest, .adapter_digest = adapter, .texts = std::move(texts)};
    call.output = adapter.empty() ? engine::Output::kEmbedding : engine::Output::kProbabilities;
    runtime_->Submit(std::move(call), [&](absl::StatusOr<InferenceReply> reply) {
      result = std::move(reply);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }
  static std::string Answer(const InferenceReply& reply, size_t row) {
    const auto& values = reply.rows[row].values;
    return reply.adapter.labels[static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin())];
  }

  static TrainJob Job(const std::string& id) {
    TrainJob job{.id = id, .name = "finetuneJobs/a", .base_digest = kDigest};
    job.options.lora.target_modules = {"query", "value"};
    job.options.lora.task_type = "SEQ_CLS";
    job.options.max_steps = 12;
    job.options.save_steps = 5;
    job.options.eval_steps = 6;
    job.options.batch_size = 4;
    job.options.seed = 3;
    job.data.labels = {"a", "b"};
    for (int i = 0; i < 40; ++i) job.data.train.push_back({TinyText(100 + i, 3 + i % 11), {i % 2}});
    for (int i = 0; i < 10; ++i) job.data.validation.push_back({TinyText(500 + i, 5), {i % 2}});
    return job;
  }
  // The trained adapter's bytes.
  absl::StatusOr<std::string> Train(TrainJob job, TrainCallbacks callbacks = {}) {
    absl::Notification done;
    absl::StatusOr<std::string> result = absl::UnknownError("");
    callbacks.done = [&](absl::StatusOr<fs::path> folder) {
      if (folder.ok()) {
        result = ReadAll(*folder / "adapter_model.safetensors");
        fs::remove_all(root_ / "trained");
        fs::copy(*folder, root_ / "trained", fs::copy_options::recursive);
      } else {
        result = folder.status();
      }
      done.Notify();
    };
    const absl::Status started = runtime_->StartTraining(std::move(job), std::move(callbacks));
    if (!started.ok()) return started;
    done.WaitForNotification();
    return result;
  }

  testing::TinyBase base_;
  fs::path root_;
  Runtime::Options options_;
  std::atomic<int64_t> disk_reads_{0};
  std::unique_ptr<Runtime> runtime_;
};

TEST_F(RuntimeEngineTest, NoRowIsAnsweredByAnothersAdapter) {
  WriteAdapters();
  options_.device_adapters = 4;
  options_.host_adapter_bytes = 200'000;
  Start();
  std::atomic<int> wrong{0}, failed{0}, rows{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 60; ++round) {
        const int n = (t * 5 + round * 11) % kAdapters;
        std::vector<std::string> texts;
        for (int i = 0; i < 4; ++i)
          texts.push_back(TinyText(static_cast<uint64_t>(t * 1000 + round * 10 + i), 2 + i * 3));
        const auto reply = Call(absl::StrCat("adapter-", n), texts);
        failed += !reply.ok();
        for (size_t row = 0; reply.ok() && row < texts.size(); ++row) {
          ++rows;
          wrong += Answer(*reply, row) != absl::StrCat(n, "/", n % 4);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(rows, 8 * 60 * 4);
  EXPECT_GE(disk_reads_, kAdapters);
}

TEST_F(RuntimeEngineTest, AMixedBatchGivesEachRowWhatItGetsAlone) {
  WriteAdapters();
  Start();
  std::vector<absl::StatusOr<InferenceReply>> alone;
  for (int n = 0; n < 8; ++n) alone.push_back(Call(n == 0 ? "" : absl::StrCat("adapter-", n), {TinyText(n, 4 + n)}));
  std::vector<std::thread> threads;
  std::atomic<int> far{0};
  for (int n = 0; n < 8; ++n) {
    threads.emplace_back([&, n] {
      for (int round = 0; round < 20; ++round) {
        const auto reply = Call(n == 0 ? "" : absl::StrCat("adapter-", n), {TinyText(n, 4 + n)});
        ASSERT_TRUE(reply.ok() && alone[n].ok());
        for (size_t i = 0; i < reply->rows[0].values.size(); ++i) {
          far += std::abs(reply->rows[0].values[i] - alone[n]->rows[0].values[i]) > 1e-5f;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(far, 0);
}

TEST_F(RuntimeEngineTest, TrainingUnderLoadGivesTheSameBytesAndTheAdapterServes) {
  WriteAdapters();
  Start();
  const auto idle = Train(Job("idle"));
  ASSERT_TRUE(idle.ok()) << idle.status();
  std::atomic<bool> stop{false};
  std::vector<std::thread> clients;
  for (int t = 0; t < 3; ++t) {
    clients.emplace_back([&, t] {
      while (!stop) EXPECT_TRUE(Call(absl::StrCat("adapter-", t), {TinyText(t, 9), TinyText(t, 3)}).ok());
    });
  }
  const auto busy = Train(Job("busy"));
  stop = true;
  for (std::thread& client : clients) client.join();
  ASSERT_TRUE(busy.ok()) << busy.status();
  EXPECT_EQ(*idle, *busy);
  const auto reply = Call("trained", {TinyText(1, 5)});
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(reply->adapter.labels, ::testing::ElementsAre("a", "b"));
  EXPECT_EQ(reply->adapter.job, "finetuneJobs/a");
}

TEST_F(RuntimeEngineTest, AResumedRunGivesTheSameBytes) {
  Start();
  const fs::path kept = root_ / "kept";
  TrainCallbacks callbacks;
  callbacks.checkpoint = [&](int64_t step, const fs::path& folder) {
    if (step == 5) fs::copy(folder, kept, fs::copy_options::recursive);
    return absl::OkStatus();
  };
  const auto whole = Train(Job("whole"), callbacks);
  ASSERT_TRUE(whole.ok()) << whole.status();
  TrainJob job = Job("resumed");
  job.checkpoint = kept;
  std::vector<int64_t> steps;
  TrainCallbacks watching;
  watching.update = [&](const engine::TrainUpdate& update) {
    if (const auto* step = std::get_if<engine::TrainProgress>(&update)) steps.push_back(step->step);
  };
  const auto resumed = Train(std::move(job), watching);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(steps.front(), 6);
  EXPECT_EQ(*whole, *resumed);
}

TEST_F(RuntimeEngineTest, EvaluatesWithTheRealModel) {
  WriteAdapters();
  Start();
  EvalJob job{.id = "e", .base_digest = kDigest, .adapter_digests = {"adapter-5"}};
  for (int i = 0; i < 50; ++i) {
    job.rows.push_back({TinyText(i, 4 + i % 7), {}});
    job.row_labels.push_back({i < 40 ? "5/1" : "5/2"});
  }
  absl::Notification done;
  EvalCallbacks callbacks;
  callbacks.done = [&](const auto& scores) {
    ASSERT_TRUE(scores.ok()) << scores.status();
    EXPECT_DOUBLE_EQ(std::get<engine::ClassificationScores>((*scores)[0].second).accuracy, 0.8);
    done.Notify();
  };
  ASSERT_TRUE(runtime_->StartEvaluation(std::move(job), callbacks).ok());
  done.WaitForNotification();
}

TEST_F(RuntimeEngineTest, ATextIsCutToWhatAPromptLeaves) {
  testing::TinyAdapter adapter;
  adapter.base_digest = kDigest;
  adapter.r = 24;
  testing::WriteTinyPrompt(root_ / "prompt", base_, adapter);
  Start();
  const auto reply = Call("prompt", {TinyText(1, 200), "good tea"});
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->rows[0].input_tokens,
            64 - 24);  // the base's positions less the virtual tokens, which are not counted
  EXPECT_TRUE(reply->rows[0].truncated);
  EXPECT_EQ(reply->rows[1].input_tokens, 4);
  EXPECT_FALSE(reply->rows[1].truncated);
}

TEST_F(RuntimeEngineTest, AnAdapterOfAnotherBaseIsRefused) {
  testing::TinyAdapter adapter;
  adapter.base_digest = std::string(64, 'f');
  testing::WriteTinyLora(root_ / "foreign", base_, adapter);
  Start();
  EXPECT_EQ(GetReason(Call("foreign", {"x"}).status()), Reason::kBaseMismatch);
}

}  // namespace
}  // namespace tenon::runtime
