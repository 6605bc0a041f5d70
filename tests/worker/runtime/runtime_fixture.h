// A runtime over the fake engine, and helpers to talk to it.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/worker/runtime/fake_engine.h"
#include "worker/runtime/runtime.h"

namespace tenon::runtime {

class RuntimeFixture : public ::testing::Test, protected AdapterSource {
 protected:
  RuntimeFixture() {
    tenon::testing::FakeEngine::Get().Reset();
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    options_.scratch = std::filesystem::path(::testing::TempDir()) / absl::StrCat("runtime-", info->name());
    options_.threads = 2;
    observer_.adapter_get = [this](const std::string& tier) { tier == "device" ? ++gets_on_device_ : ++gets_below_; };
    observer_.adapter_load = [this](const std::string& from, absl::Duration, bool) { disk_reads_ += from == "disk"; };
    observer_.batch = [this](int64_t rows, int64_t, int64_t, absl::Duration) {
      ++batches_;
      batched_rows_ += rows;
    };
  }
  ~RuntimeFixture() override {
    runtime_.reset();
    std::filesystem::remove_all(options_.scratch);
  }

  void Start() {
    auto runtime = Runtime::Create(options_, this, observer_);
    ASSERT_TRUE(runtime.ok()) << runtime.status();
    runtime_ = *std::move(runtime);
    ASSERT_TRUE(runtime_->LoadBase("base", "/fake/base").ok());
  }

  // Beside `base`, a base that generates.
  void StartWriter() {
    Start();
    ASSERT_TRUE(runtime_->LoadBase("writer", "/fake/writer").ok());
  }

  absl::StatusOr<std::filesystem::path> Fetch(const std::string& digest) override {
    return std::filesystem::path("/fake") / digest;
  }

  static InferenceCall Classify(const std::string& adapter, std::vector<std::string> texts) {
    return {.base_digest = "base",
            .adapter_digest = adapter,
            .output = engine::Output::kProbabilities,
            .texts = std::move(texts)};
  }
  static InferenceCall Embed(std::vector<std::string> texts) {
    return {.base_digest = "base", .output = engine::Output::kEmbedding, .texts = std::move(texts)};
  }
  absl::StatusOr<InferenceReply> Call(InferenceCall call) {
    absl::Notification done;
    absl::StatusOr<InferenceReply> result = absl::UnknownError("");
    runtime_->Submit(std::move(call), [&](absl::StatusOr<InferenceReply> reply) {
      result = std::move(reply);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }
  static GenerationCall Write(const std::string& adapter, std::vector<std::string> texts, int64_t max_new_tokens = 20) {
    GenerationCall call{.base_digest = "writer", .adapter_digest = adapter, .texts = std::move(texts)};
    call.options.max_new_tokens = max_new_tokens;
    return call;
  }
  // A generation call and what came of it. Must outlive its answer, or the runtime.
  struct Pending {
    uint64_t id = 0;
    absl::StatusOr<GenerationReply> reply = absl::UnknownError("");
    std::vector<std::string> deltas;
    absl::Notification done;
  };
  void Submit(GenerationCall call, Pending& pending) {
    GenerationCallbacks callbacks;
    callbacks.delta = [&pending](const std::string& text) {
      EXPECT_FALSE(pending.done.HasBeenNotified());
      pending.deltas.push_back(text);
    };
    callbacks.done = [&pending](absl::StatusOr<GenerationReply> reply) {
      pending.reply = std::move(reply);
      pending.done.Notify();
    };
    pending.id = runtime_->SubmitGeneration(std::move(call), std::move(callbacks));
  }
  absl::StatusOr<GenerationReply> Generate(GenerationCall call) {
    Pending pending;
    Submit(std::move(call), pending);
    pending.done.WaitForNotification();
    return pending.reply;
  }
  static std::vector<std::string> Texts(const GenerationReply& reply) {
    std::vector<std::string> texts;
    for (const GenerationRow& row : reply.rows) texts.push_back(row.sequences.at(0).text);
    return texts;
  }
  // The label that a row of the fake engine answers.
  static int64_t Label(const InferenceRow& row) {
    for (size_t i = 0; i < row.values.size(); ++i) {
      if (row.values[i] > 0.5f) return static_cast<int64_t>(i);
    }
    return -1;
  }

  Runtime::Options options_;
  RuntimeObserver observer_;
  std::atomic<int64_t> gets_on_device_{0}, gets_below_{0}, disk_reads_{0}, batches_{0}, batched_rows_{0};
  std::unique_ptr<Runtime> runtime_;
};

// Holds the device thread inside a slice until it is opened.
class Gate {
 public:
  // Call from the device thread.
  void Pass() {
    if (!reached_.HasBeenNotified()) reached_.Notify();
    open_.WaitForNotification();
  }
  void WaitUntilReached() { reached_.WaitForNotification(); }
  void Open() { open_.Notify(); }

 private:
  absl::Notification reached_, open_;
};

}  // namespace tenon::runtime
