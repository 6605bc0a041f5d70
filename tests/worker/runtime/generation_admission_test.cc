// What is refused of a generation call, and what is made of its options.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "common/formats/status.h"
#include "tests/worker/runtime/runtime_fixture.h"

namespace tenon::runtime {
namespace {

using tenon::testing::FakeEngine;
using ::testing::ElementsAre;
using GenerationAdmissionTest = RuntimeFixture;

TEST_F(GenerationAdmissionTest, OptionsAreCheckedAndIgnoredOnesNamed) {
  StartWriter();
  GenerationCall call = Write("", {"5"});
  call.options.temperature = 0.5;
  call.bad_words = {"6 7"};
  const auto reply = Generate(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(reply->ignored_options, ElementsAre("temperature"));
  const auto field = [&](const std::function<void(GenerationCall&)>& change) {
    GenerationCall wrong = Write("", {"5"});
    change(wrong);
    return GetField(Generate(wrong).status());
  };
  EXPECT_EQ(field([](auto& call) { call.options.top_p = 2; }), "top_p");
  EXPECT_EQ(field([](auto& call) { call.bad_words = {""}; }), "bad_words");
  EXPECT_EQ(field([](auto& call) { call.options.num_beams = 65; }), "num_beams");
  EXPECT_EQ(field([](auto& call) {
              call.stream = true;
              call.options.num_beams = 2;
            }),
            "num_beams");
  EXPECT_EQ(field([](auto& call) {
              call.stream = true;
              call.options.do_sample = true;
              call.options.num_return_sequences = 2;
            }),
            "num_return_sequences");
  EXPECT_EQ(field([](auto& call) {
              call.stream = true;
              call.texts = {"1", "2"};
            }),
            "texts");
}

TEST_F(GenerationAdmissionTest, TextsAreCutToTheRequestsTheAdaptersOrTheBasesLimit) {
  StartWriter();
  const std::string text = absl::StrJoin(std::vector<int>(200, 1), " ");
  const auto tokens = [&](const std::string& adapter, int64_t asked) {
    GenerationCall call = Write(adapter, {text}, 2);
    call.max_input_tokens = asked;
    const auto reply = Generate(call);
    EXPECT_TRUE(reply.ok() && reply->rows[0].truncated);
    return reply.ok() ? reply->rows[0].input_tokens : -1;
  };
  EXPECT_EQ(tokens("", 0), 128);
  EXPECT_EQ(tokens("limit-9", 0), 9);
  EXPECT_EQ(tokens("limit-9", 30), 30);
}

TEST_F(GenerationAdmissionTest, EachKindOfBaseDoesItsOwn) {
  StartWriter();
  GenerationCall write = Write("", {"5"});
  write.base_digest = "base";
  EXPECT_EQ(GetReason(Generate(write).status()), Reason::kNotGenerative);
  write.base_digest = "nowhere";
  EXPECT_EQ(GetReason(Generate(write).status()), Reason::kNoWorker);
  InferenceCall embed = Embed({"5"});
  embed.base_digest = "writer";
  EXPECT_EQ(GetReason(Call(embed).status()), Reason::kUnsupported);
  InferenceCall classify = Classify("head-1", {"5"});
  classify.base_digest = "writer";
  EXPECT_EQ(GetReason(Call(classify).status()), Reason::kNoClassifier);
  classify.texts.clear();
  EXPECT_TRUE(Call(classify).ok()) << "its adapters are checked all the same";
  EXPECT_EQ(GetReason(Generate(Write("broken", {"5"})).status()), Reason::kAdapterInvalid);
}

TEST_F(GenerationAdmissionTest, AFullQueueRefuses) {
  Gate gate;
  FakeEngine::Get().on_step = [&](const auto&) {
    gate.Pass();
    return absl::OkStatus();
  };
  options_.max_queued_tokens = 20;
  options_.max_decoder_lines = 1;
  StartWriter();
  Pending running, waiting, refused;
  Submit(Write("", {"1"}), running);
  gate.WaitUntilReached();
  Submit(Write("", {absl::StrJoin(std::vector<int>(15, 1), " ")}), waiting);
  while (runtime_->stats().queued_rows < 1) std::this_thread::yield();
  EXPECT_EQ(runtime_->stats().queued_tokens, 16);
  Submit(Write("", {absl::StrJoin(std::vector<int>(15, 1), " ")}), refused);
  gate.Open();
  refused.done.WaitForNotification();
  EXPECT_EQ(GetReason(refused.reply.status()), Reason::kQueueFull);
  waiting.done.WaitForNotification();
  EXPECT_TRUE(waiting.reply.ok());
}

}  // namespace
}  // namespace tenon::runtime
