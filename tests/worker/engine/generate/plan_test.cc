#include "worker/engine/generate/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "common/formats/status.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

GenerationLimits Limits() {
  GenerationLimits limits;
  limits.vocab_size = 100;
  return limits;
}

struct Wrong {
  const char* name;
  std::function<void(GenerationOptions&)> set;
  const char* field;
  const char* says;
  bool streaming = false;
};

class PlanRefuses : public ::testing::TestWithParam<Wrong> {};

TEST_P(PlanRefuses, ByNameOfTheOption) {
  GenerationOptions asked;
  GetParam().set(asked);
  GenerationLimits limits = Limits();
  limits.streaming = GetParam().streaming;
  limits.max_new_tokens = 50;
  const auto plan = MakePlan(asked, {}, limits);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(GetField(plan.status()), GetParam().field);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr(GetParam().says));
}

using O = GenerationOptions;
const Wrong kWrong[] = {
    {"NoTokens", [](O& o) { o.max_new_tokens = 0; }, "max_new_tokens", "at least 1"},
    {"LengthOfThePrefix", [](O& o) { o.max_length = 1; }, "max_length", "no token to write"},
    {"LengthZero", [](O& o) { o.max_length = 0; }, "max_length", "no token to write"},
    {"AboveTheLimit", [](O& o) { o.max_new_tokens = 51; }, "max_new_tokens", "at most 50"},
    {"HugeLength", [](O& o) { o.max_new_tokens = std::numeric_limits<int64_t>::max(); }, "max_new_tokens",
     "at most 50"},
    {"MinAboveMax", [](O& o) { o.min_new_tokens = 9, o.max_new_tokens = 8; }, "min_new_tokens",
     "max_new_tokens allows (8)"},
    {"MinLengthAboveMax", [](O& o) { o.min_length = 10, o.max_length = 9; }, "min_length", "max_length allows"},
    {"NegativeMin", [](O& o) { o.min_new_tokens = -1; }, "min_new_tokens", "at least 0"},
    {"NegativeMinLength", [](O& o) { o.min_length = -1; }, "min_length", "at least 0"},
    {"SeveralFromGreedy", [](O& o) { o.num_return_sequences = 2; }, "num_return_sequences", "greedy search gives one"},
    {"MoreThanBeams", [](O& o) { o.num_beams = 4, o.num_return_sequences = 5; }, "num_return_sequences", "4 beams"},
    {"BeamSampling", [](O& o) { o.num_beams = 4, o.do_sample = true; }, "do_sample", "beam sampling"},
    {"StreamedBeams", [](O& o) { o.num_beams = 4; }, "num_beams", "streamed", true},
    {"NoBeams", [](O& o) { o.num_beams = 0; }, "num_beams", "at least 1"},
    {"ManyBeams", [](O& o) { o.num_beams = 65; }, "num_beams", "at most 64"},
    {"NoSequences", [](O& o) { o.num_return_sequences = 0; }, "num_return_sequences", "at least 1"},
    {"ManySamples", [](O& o) { o.do_sample = true, o.num_return_sequences = 65; }, "num_return_sequences",
     "at most 64"},
    {"Cold", [](O& o) { o.temperature = 0; }, "temperature", "above 0"},
    {"NoTemperature", [](O& o) { o.temperature = kNan; }, "temperature", "above 0"},
    {"TopK", [](O& o) { o.top_k = -1; }, "top_k", "at least 0"},
    {"TopP", [](O& o) { o.top_p = 1.5; }, "top_p", "at most 1"},
    {"TypicalP", [](O& o) { o.typical_p = 0; }, "typical_p", "above 0"},
    {"Repetition", [](O& o) { o.repetition_penalty = 0; }, "repetition_penalty", "above 0"},
    {"LengthPenalty", [](O& o) { o.length_penalty = kNan; }, "length_penalty", "finite"},
    {"NGrams", [](O& o) { o.no_repeat_ngram_size = -2; }, "no_repeat_ngram_size", "at least 0"},
    {"EmptyWord", [](O& o) { o.bad_words = {{}}; }, "bad_words", "without tokens"},
    {"UnknownWord",
     [](O& o) {
       o.bad_words = {{5, 100}};
     },
     "bad_words", "100 tokens"},
    {"ManyWords", [](O& o) { o.bad_words.assign(1025, {5}); }, "bad_words", "at most 1024"},
    {"UnknownBos", [](O& o) { o.forced_bos_token_id = 100; }, "forced_bos_token_id", "token id 100"},
    {"NegativeEos", [](O& o) { o.eos_token_ids = {-1}; }, "eos_token_ids", "token id -1"},
    {"EmptyStop", [](O& o) { o.stop_strings = {""}; }, "stop_strings", "empty"},
    {"LongStop", [](O& o) { o.stop_strings = {std::string(257, 'x')}; }, "stop_strings", "257 bytes"},
    {"BrokenStop", [](O& o) { o.stop_strings = {"\xff"}; }, "stop_strings", "UTF-8"},
    {"ManyStops", [](O& o) { o.stop_strings.assign(17, "x"); }, "stop_strings", "at most 16"},
};
INSTANTIATE_TEST_SUITE_P(Plan, PlanRefuses, ::testing::ValuesIn(kWrong),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Plan, BeamSamplingIsUnsupportedNotInvalid) {
  GenerationOptions asked;
  asked.num_beams = 2;
  asked.do_sample = true;
  EXPECT_EQ(GetReason(MakePlan(asked, {}, Limits()).status()), Reason::kUnsupported);
}

TEST(Plan, HasTransformersDefaults) {
  const auto plan = MakePlan({}, {}, Limits());
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->mode, SearchMode::kGreedy);
  EXPECT_EQ(plan->max_length, 21);  // twenty tokens and the one that the decoder starts with
  EXPECT_EQ(plan->min_length, 0);
  EXPECT_EQ(plan->top_k, 50);
  EXPECT_EQ(plan->max_lines(), 1);
  EXPECT_THAT(plan->ignored, IsEmpty());
}

TEST(Plan, CountsWhatTheDecoderStartsWith) {
  GenerationOptions asked;
  asked.max_new_tokens = 8;
  asked.min_new_tokens = 3;
  GenerationLimits limits = Limits();
  limits.prefix_tokens = 5;
  auto plan = MakePlan(asked, {}, limits);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->max_length, 13);
  EXPECT_EQ(plan->min_length, 8);
  asked = {};
  asked.max_length = 8;
  plan = MakePlan(asked, {}, limits);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->max_length, 8);
}

TEST(Plan, TellsWhatIsIgnored) {
  GenerationOptions asked;
  asked.temperature = 0.5;
  asked.top_k = 50;  // the default does no harm
  asked.top_p = 0.9;
  asked.typical_p = 0.9;
  asked.seed = 1;
  asked.length_penalty = 2;
  asked.early_stopping = EarlyStopping::kTrue;
  asked.max_new_tokens = 5;
  asked.max_length = 9;
  auto plan = MakePlan(asked, {}, Limits());
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->ignored, ElementsAre("max_length", "length_penalty", "early_stopping", "temperature", "top_p",
                                         "typical_p", "seed"));
  EXPECT_EQ(plan->max_length, 6);
  asked.max_length.reset();
  asked.do_sample = true;
  plan = MakePlan(asked, {}, Limits());
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->ignored, ElementsAre("length_penalty", "early_stopping"));
  asked.do_sample = false;
  asked.num_beams = 2;
  plan = MakePlan(asked, {}, Limits());
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->ignored, ElementsAre("temperature", "top_p", "typical_p", "seed"));
}

TEST(Plan, ABasesOptionsAreNeverReportedAsIgnored) {
  GenerationOptions base;
  base.temperature = 0.5;
  base.length_penalty = 2;
  const auto plan = MakePlan({}, base, Limits());
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->ignored, IsEmpty());
}

TEST(Plan, TheRequestOverrulesTheBase) {
  GenerationOptions base, asked;
  base.max_new_tokens = 30;
  base.min_length = 25;
  base.num_beams = 4;
  base.do_sample = true;  // never turned on by a base
  base.eos_token_ids = {1};
  asked.max_length = 10;
  const auto plan = MakePlan(asked, base, Limits());
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->mode, SearchMode::kBeam);
  EXPECT_EQ(plan->num_beams, 4);
  EXPECT_EQ(plan->max_length, 10);
  EXPECT_EQ(plan->min_length, 25);  // the base's minimum is no error of the request: the end is barred throughout
  EXPECT_TRUE(plan->IsEos(1));
  asked.do_sample = true;
  const auto sampled = MakePlan(asked, base, Limits());
  ASSERT_TRUE(sampled.ok());
  EXPECT_EQ(sampled->mode, SearchMode::kSample);
}

TEST(Plan, ABasesLengthIsCutToTheLimitARequestsIsRefused) {
  GenerationLimits limits = Limits();
  limits.max_positions = 16;
  GenerationOptions base, asked;
  base.max_length = 200;
  const auto plan = MakePlan({}, base, limits);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->max_length, 16);
  asked.max_new_tokens = 16;
  EXPECT_EQ(GetField(MakePlan(asked, base, limits).status()), "max_new_tokens");
}

TEST(Plan, TheEndOfASequenceIsNoBadWord) {
  GenerationOptions asked;
  asked.eos_token_ids = {1};
  asked.bad_words = {{1}, {1, 2}, {3}};
  const auto plan = MakePlan(asked, {}, Limits());
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->bad_words, ElementsAre(ElementsAre(1, 2), ElementsAre(3)));
}

}  // namespace
}  // namespace tenon::engine
