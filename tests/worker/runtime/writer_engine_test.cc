// The runtime over the real engine and a tiny T5: every kind of adapter writes what it writes alone.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tiny_t5.h"
#include "worker/runtime/runtime.h"

namespace tenon::runtime {
namespace {

namespace fs = std::filesystem;

constexpr char kDigest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
constexpr int kKinds = 6;

struct Pending {
  absl::StatusOr<GenerationReply> reply = absl::UnknownError("");
  absl::Notification done;
};

class WriterEngineTest : public ::testing::Test, protected AdapterSource {
 protected:
  WriterEngineTest() {
    testing::WriteTinyT5(folder_ / "base", base_);
    testing::WriteTinyT5Lora(folder_ / "adapter-1", base_, {.r = 2, .seed = 21});
    testing::WriteTinyT5Lora(folder_ / "adapter-2", base_, {.r = 6, .target_modules = {"q", "o"}, .seed = 22});
    testing::WriteTinyT5Prompt(folder_ / "adapter-3", base_, {.r = 10, .spread = 1, .seed = 23});
    testing::WriteTinyT5Bottleneck(folder_ / "adapter-4", base_, {.r = 2, .seed = 24});
    testing::WriteTinyT5Bottleneck(folder_ / "adapter-5", base_,
                                   {.r = 2, .layout = formats::BottleneckLayout::kDoubleSeqBn, .seed = 25});
    options_.scratch = folder_ / "scratch";
    options_.threads = 2;
  }
  void Start() {
    auto runtime = Runtime::Create(options_, this, {});
    ASSERT_TRUE(runtime.ok()) << runtime.status();
    runtime_ = *std::move(runtime);
    const absl::Status loaded = runtime_->LoadBase(kDigest, folder_ / "base");
    ASSERT_TRUE(loaded.ok()) << loaded;
  }
  absl::StatusOr<fs::path> Fetch(const std::string& digest) override { return folder_ / digest; }

  static GenerationCall Call(const std::string& adapter, std::vector<std::string> texts, int64_t beams = 1) {
    GenerationCall call{.base_digest = kDigest, .adapter_digest = adapter, .texts = std::move(texts)};
    call.options.max_new_tokens = 12;
    if (beams > 1) call.options.num_beams = beams;
    return call;
  }
  // Call `n`: adapters in turn, greedy and by beams.
  static GenerationCall Call(int n) {
    return Call(n % kKinds == 0 ? "" : absl::StrCat("adapter-", n % kKinds),
                {absl::StrCat("read th", std::string(static_cast<size_t>(1 + n % 5), 'i'), "s"), "tea"},
                n % 2 == 0 ? 1 : 3);
  }
  void Submit(GenerationCall call, Pending& pending) {
    GenerationCallbacks callbacks;
    callbacks.done = [&pending](absl::StatusOr<GenerationReply> reply) {
      pending.reply = std::move(reply);
      pending.done.Notify();
    };
    runtime_->SubmitGeneration(std::move(call), std::move(callbacks));
  }
  absl::StatusOr<GenerationReply> Generate(GenerationCall call) {
    Pending pending;
    Submit(std::move(call), pending);
    pending.done.WaitForNotification();
    return pending.reply;
  }

  const test::TempFolder folder_;
  testing::TinyT5 base_;
  Runtime::Options options_;
  std::unique_ptr<Runtime> runtime_;
};

TEST_F(WriterEngineTest, EveryKindOfAdapterWritesWhatItWritesAlone) {
  constexpr int kCalls = 4 * kKinds;
  options_.max_decoder_lines = 24;
  Start();
  std::vector<absl::StatusOr<GenerationReply>> alone;
  for (int n = 0; n < kCalls; ++n) {
    alone.push_back(Generate(Call(n)));
    ASSERT_TRUE(alone.back().ok()) << n << alone.back().status();
  }
  std::vector<Pending> together(kCalls);
  for (int n = 0; n < kCalls; ++n) Submit(Call(n), together[static_cast<size_t>(n)]);
  for (size_t n = 0; n < kCalls; ++n) {
    SCOPED_TRACE(n);
    together[n].done.WaitForNotification();
    ASSERT_TRUE(together[n].reply.ok()) << together[n].reply.status();
    for (size_t row = 0; row < 2; ++row) {
      const GenerationRow &got = together[n].reply->rows[row], &wanted = alone[n]->rows[row];
      EXPECT_EQ(got.sequences.at(0).tokens, wanted.sequences.at(0).tokens);
      EXPECT_EQ(got.sequences.at(0).text, wanted.sequences.at(0).text);
      EXPECT_EQ(got.input_tokens, wanted.input_tokens);
    }
  }
  // They are not all the base.
  const auto base = Generate(Call("", {"read this"}));
  for (int n = 1; n < kKinds; ++n) {
    const auto other = Generate(Call(absl::StrCat("adapter-", n), {"read this"}));
    EXPECT_NE(other->rows[0].sequences[0].tokens, base->rows[0].sequences[0].tokens) << n;
  }
}

TEST_F(WriterEngineTest, VirtualTokensAreNotCountedButTakeRoom) {
  options_.max_decoder_tokens = 4 + 13 + 9;  // for a short text, and less than ten virtual tokens beside it
  Start();
  const auto base = Generate(Call("", {"ab"}));
  ASSERT_TRUE(base.ok()) << base.status();
  const auto prompted = Generate(Call("adapter-3", {"ab"}));
  EXPECT_EQ(GetReason(prompted.status()), Reason::kFieldInvalid) << prompted.status();
  EXPECT_EQ(GetField(prompted.status()), "max_new_tokens");
  runtime_.reset();
  options_.max_decoder_tokens = 1000;
  Start();
  const auto roomy = Generate(Call("adapter-3", {"ab"}));
  ASSERT_TRUE(roomy.ok()) << roomy.status();
  EXPECT_EQ(roomy->rows[0].input_tokens, base->rows[0].input_tokens);
}

TEST_F(WriterEngineTest, AnAdapterThatOverflowsIsAnErrorAndNoText) {
  testing::WriteTinyT5Prompt(folder_ / "huge", base_, {.r = 2, .spread = 1e25});
  Start();
  const auto reply = Generate(Call("huge", {"ab", "cd"}, 3));
  EXPECT_EQ(GetReason(reply.status()), Reason::kResultNotFinite) << reply.status();
  EXPECT_EQ(GetField(reply.status()), "texts[0]");
  EXPECT_TRUE(Generate(Call("", {"ab"})).ok());
}

}  // namespace
}  // namespace tenon::runtime
