// Generation by a decoder alone through the runtime, over the fake engine: prompts are part of what is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/formats/status.h"
#include "tests/worker/runtime/runtime_fixture.h"

namespace tenon::runtime {
namespace {

using tenon::testing::kFakePositions;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class GenerationPromptTest : public RuntimeFixture {
 protected:
  void SetUp() override {
    Start();
    ASSERT_TRUE(runtime_->LoadBase("writer", "/fake/writer-alone").ok());
  }
  static std::string Words(int64_t count) {
    std::string text;
    for (int64_t i = 0; i < count; ++i) text += "5 ";
    return text;
  }
};

TEST_F(GenerationPromptTest, ADecoderReadsAllButThePromptsLastToken) {
  std::vector<int32_t> source;
  tenon::testing::FakeEngine::Get().on_step = [&](const std::vector<tenon::testing::FakeLine>& lines) {
    source = lines[0].ids;
    return absl::OkStatus();
  };
  const auto reply = Generate(Write("", {"5 6"}));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(source, ElementsAre(tenon::testing::FakeToken(5), tenon::testing::FakeToken(6)));
  EXPECT_EQ(reply->rows[0].input_tokens, 3);
  EXPECT_THAT(Texts(*reply), ElementsAre("5 6")) << "and the reply has new tokens alone";
}

TEST_F(GenerationPromptTest, LengthsCountEachRowsOwnPrompt) {
  GenerationCall call = Write("", {"5 6 7 on", "8 on"});
  call.options.max_new_tokens.reset();
  call.options.max_length = 8;
  const auto reply = Generate(call);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->rows[0].output_tokens, 3);
  EXPECT_EQ(reply->rows[1].output_tokens, 5);
}

TEST_F(GenerationPromptTest, APromptIsCutWhereThatIsAskedForAlone) {
  const auto refused = Generate(Write("", {"5", Words(kFakePositions)}));
  EXPECT_EQ(GetReason(refused.status()), Reason::kFieldInvalid) << refused.status();
  EXPECT_EQ(GetField(refused.status()), "texts[1]");
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("24 positions"));
  GenerationCall call = Write("", {Words(kFakePositions)}, /*max_new_tokens=*/5);
  call.max_input_tokens = 10;
  const auto cut = Generate(call);
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_TRUE(cut->rows[0].truncated);
  EXPECT_EQ(cut->rows[0].input_tokens, 10);
  // More than there is room for is not what was asked for.
  call.max_input_tokens = 1000;
  EXPECT_EQ(GetField(Generate(call).status()), "texts[0]");
}

TEST_F(GenerationPromptTest, AReplyBeyondThePositionsIsRefused) {
  GenerationCall call = Write("", {"5 6 on"});
  call.options.max_new_tokens = kFakePositions;
  EXPECT_EQ(GetField(Generate(call).status()), "max_new_tokens");
  call.options.max_new_tokens = kFakePositions - 4;
  const auto most = Generate(call);
  ASSERT_TRUE(most.ok()) << most.status();
  EXPECT_EQ(most->rows[0].output_tokens, kFakePositions - 4);
}

}  // namespace
}  // namespace tenon::runtime
