#include "common/formats/text_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/adapter_config.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TextPattern Parse(const std::string& text) {
  auto pattern = TextPattern::Parse(text, "t.input");
  EXPECT_TRUE(pattern.ok()) << pattern.status();
  return pattern.ok() ? *std::move(pattern) : *TextPattern::Parse("{x}", "");
}

TEST(TextPattern, PutsFieldsIntoTheirPlaces) {
  const TextPattern pattern = Parse("summarize: {dialogue}\nby {name} {dialogue}");
  EXPECT_THAT(pattern.fields(), ElementsAre("dialogue", "name"));
  EXPECT_EQ(*pattern.Render({{"dialogue", "a {name}"}, {"name", "b"}, {"unused", ""}}),
            "summarize: a {name}\nby b a {name}")
      << "what a field holds is no template";
}

TEST(TextPattern, DoubledBracesAreBraces) {
  EXPECT_EQ(*Parse("{{\"k\": {v}}}").Render({{"v", "1"}}), "{\"k\": 1}");
  EXPECT_EQ(*Parse("}}{{{a}}}{{").Render({{"a", "x"}}), "}{x}{");
}

TEST(TextPattern, NamesMayHoldSpacesAndAnyLetter) {
  EXPECT_EQ(*Parse("{the question}{straße}").Render({{"the question", "q"}, {"straße", "s"}}), "qs");
}

struct Broken {
  const char* text;
  const char* message;
};

class BrokenTemplate : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenTemplate, NamesTheTemplateAndThePlace) {
  const absl::Status status = TextPattern::Parse(GetParam().text, "t.input").status();
  EXPECT_EQ(GetReason(status), Reason::kFieldInvalid) << status;
  EXPECT_EQ(GetField(status), "t.input");
  EXPECT_THAT(std::string(status.message()), HasSubstr("t.input "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, BrokenTemplate,
                         ::testing::Values(Broken{"ab {c", "a brace at character 4 that is not closed"},
                                           Broken{"{a {b}", "a brace at character 1 that is not closed"},
                                           Broken{"{", "a brace at character 1 that is not closed"},
                                           Broken{"é{}", "without a field's name at character 2"},
                                           Broken{"{ \t}", "without a field's name at character 1"},
                                           Broken{"éé a} {b}", "a closing brace at character 5 that nothing opened"},
                                           Broken{"{a}}", "a closing brace at character 4"}, Broken{"", "is empty"},
                                           Broken{"no field {{}}", "has no field"}));

TEST(TextPattern, SizesAreBounded) {
  EXPECT_THAT(std::string(TextPattern::Parse(std::string(9 << 10, 'x') + "{a}", "t").status().message()),
              HasSubstr("at most 8192"));
  std::string many;
  for (int i = 0; i < 64; ++i) many += "{a}";
  const TextPattern pattern = Parse(many);
  EXPECT_THAT(std::string(TextPattern::Parse(many + "{a}", "t").status().message()), HasSubstr("more than 64 fields"));
  EXPECT_TRUE(pattern.Render({{"a", std::string(1 << 16, 'x')}}).ok());
  EXPECT_EQ(GetReason(pattern.Render({{"a", std::string((1 << 16) + 1, 'x')}}).status()), Reason::kTextTooLarge);
}

TEST(TextPattern, AFieldThatIsNotThereIsNamedWithThoseThatAre) {
  const TextPattern pattern = Parse("{a} {c}");
  EXPECT_TRUE(pattern.CheckFields({"c", "b", "a"}).ok());
  const absl::Status status = pattern.CheckFields({"a", "b"});
  EXPECT_EQ(GetReason(status), Reason::kFieldInvalid);
  EXPECT_EQ(GetField(status), "t.input");
  EXPECT_EQ(std::string(status.message()), "t.input uses {c}; the data set has {a}, {b}");
}

TEST(TextPattern, ALongListOfFieldsIsCut) {
  std::vector<std::string> known;
  for (int i = 0; i < 13; ++i) known.push_back("f" + std::to_string(i));
  EXPECT_THAT(std::string(Parse("{a}").CheckFields(known).message()), HasSubstr("{f9}, and 3 more"));
}

TEST(TextPattern, ARowWithoutTheFieldIsAnErrorOfTheData) {
  const TextPattern pattern = Parse("{a}");
  const absl::Status missing = pattern.Render({{"b", "x"}}).status();
  EXPECT_EQ(GetReason(missing), Reason::kDatasetInvalid);
  EXPECT_EQ(GetField(missing), "a");
  EXPECT_THAT(std::string(missing.message()), HasSubstr("field a is missing"));
  EXPECT_THAT(std::string(pattern.Render({{"a", " \n"}}).status().message()), HasSubstr("field a is empty"));
}

TEST(TextPattern, OneTextGoesIntoTheOnlyField) {
  const auto frame = Parse("summarize: {{ {dialogue} }}").Around();
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(frame->before, "summarize: { ");
  EXPECT_EQ(frame->after, " }");
  const absl::Status several = Parse("{a} of {b}").Around().status();
  EXPECT_EQ(GetReason(several), Reason::kTemplateFields);
  EXPECT_EQ(several.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(several.message()), HasSubstr("{a}, {b}"));
  EXPECT_THAT(std::string(Parse("{a}{a}").Around().status().message()), HasSubstr("several places for {a}"));
}

TEST(CheckTemplate, ATargetMayBeMissingButNotBroken) {
  EXPECT_TRUE(CheckTemplate({"{a}", ""}, "x").ok());
  EXPECT_EQ(GetField(CheckTemplate({"", "{b}"}, "x")), "x.input");
  EXPECT_EQ(GetField(CheckTemplate({"{a}", "{b"}, "x")), "x.target");
}

// --- tenon.json

constexpr char kOld[] =
    "{\n  \"base_digest\": \"\",\n  \"labels\": [],\n  \"max_input_tokens\": 0,\n  \"method\": \"lora\",\n"
    "  \"multi_label\": false,\n  \"normalize\": false,\n  \"pooling\": \"mean\",\n  \"task\": \"seq2seq\"\n}\n";

TEST(TenonConfig, ATemplateIsWrittenAndReadAgain) {
  TenonConfig config{.task = "seq2seq", .method = "lora"};
  config.text_template = {"summarize: {dialogue}", "{summary}"};
  const auto read = ParseTenonConfig(WriteTenonConfig(config, /*with_job=*/true));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->text_template, config.text_template);
}

TEST(TenonConfig, AFileWithoutOneIsReadAndItsBytesStay) {
  const auto read = ParseTenonConfig(kOld);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->text_template.has_value());
  EXPECT_EQ(WriteTenonConfig(*read, /*with_job=*/false), kOld) << "digests of adapters are made of this";
}

TEST(TenonConfig, ABrokenTemplateIsNamed) {
  const auto with = [](const std::string& text_template, const std::string& task = "seq2seq") {
    return ParseTenonConfig("{\"task\": \"" + task +
                            "\", \"method\": \"lora\", \"labels\": [\"a\"], \"text_template\": " + text_template + "}")
        .status();
  };
  EXPECT_TRUE(with("{\"input\": \"{a}\"}").ok());
  for (const char* wrong : {"[]", "\"{a}\"", "{}", "{\"input\": 1}", "{\"input\": \"{a\"}",
                            "{\"input\": \"{a}\", \"x\": 1}", "{\"input\": \"{a}\", \"target\": \"b\"}"}) {
    EXPECT_EQ(GetReason(with(wrong)), Reason::kAdapterInvalid) << wrong;
    EXPECT_EQ(GetField(with(wrong)), "text_template") << wrong;
  }
  EXPECT_THAT(std::string(with("{\"input\": \"{a}\"}", "sequence_classification").message()),
              HasSubstr("text_template is for task seq2seq"));
}

}  // namespace
}  // namespace tenon::formats
