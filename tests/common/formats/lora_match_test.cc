#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "common/formats/adapter_config.h"
#include "common/formats/module_pattern.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

using ::testing::HasSubstr;

constexpr char kQuery0[] = "bert.encoder.layer.0.attention.self.query";
constexpr char kQuery1[] = "bert.encoder.layer.1.attention.self.query";
constexpr char kQuery10[] = "bert.encoder.layer.10.attention.self.query";
constexpr char kDense[] = "bert.encoder.layer.0.attention.output.dense";

LoraConfig Targets(std::vector<std::string> names) {
  LoraConfig config;
  config.target_modules = std::move(names);
  return config;
}

TEST(MatchLora, SuffixesMatchWholeSegments) {
  EXPECT_TRUE(MatchLora(Targets({"query"}), kQuery0).has_value());
  EXPECT_TRUE(MatchLora(Targets({"self.query"}), kQuery0).has_value());
  EXPECT_TRUE(MatchLora(Targets({kQuery0}), kQuery0).has_value());
  EXPECT_TRUE(MatchLora(Targets({"query"}), "query").has_value());
  EXPECT_FALSE(MatchLora(Targets({"uery"}), kQuery0).has_value());
  EXPECT_FALSE(MatchLora(Targets({"key", "value"}), kQuery0).has_value());
  EXPECT_FALSE(MatchLora(Targets({"attention"}), kQuery0).has_value());
  EXPECT_FALSE(MatchLora(Targets({".*query"}), kQuery0).has_value()) << "names of a list are not patterns";
}

TEST(MatchLora, RegexMustMatchTheWholeName) {
  LoraConfig config;
  config.target_regex = R"(.*layer\.[01]\.attention\.self\.(query|value)$)";
  EXPECT_TRUE(MatchLora(config, kQuery0).has_value());
  EXPECT_FALSE(MatchLora(config, kQuery10).has_value());
  config.target_regex = "query";
  EXPECT_FALSE(MatchLora(config, kQuery0).has_value());
  config.target_regex = R"(bert\.encoder\.layer\.\d+\.attention\.self\.\w+)";
  EXPECT_TRUE(MatchLora(config, kQuery10).has_value());
  EXPECT_FALSE(MatchLora(config, kDense).has_value());
}

TEST(MatchLora, AllLinearLeavesOutTheHead) {
  LoraConfig config;
  config.all_linear = true;
  EXPECT_TRUE(MatchLora(config, kDense).has_value());
  EXPECT_TRUE(MatchLora(config, "classifier").has_value()) << "without a task PEFT takes it";
  config.task_type = "SEQ_CLS";
  EXPECT_FALSE(MatchLora(config, "classifier").has_value());
  EXPECT_TRUE(MatchLora(config, "bert.pooler.dense").has_value());
}

TEST(MatchLora, ExcludedAndSavedModulesGetNone) {
  LoraConfig config = Targets({"query", "dense"});
  config.exclude_modules = {"layer.0.attention.self.query"};
  EXPECT_FALSE(MatchLora(config, kQuery0).has_value());
  EXPECT_TRUE(MatchLora(config, kQuery1).has_value());
  config.exclude_regex = R"(.*layer\.1\..*)";
  EXPECT_FALSE(MatchLora(config, kQuery1).has_value());
  config.modules_to_save = {"pooler"};
  EXPECT_FALSE(MatchLora(config, "bert.pooler.dense").has_value());
  EXPECT_TRUE(MatchLora(config, "bert.my_pooler.dense").has_value());
}

TEST(SavesModule, LinearLayersAndBlocksOfNothingElse) {
  LoraConfig config;
  config.modules_to_save = {"pooler", "layer.1.attention.output.dense", "layer.0.intermediate"};
  for (const char* module : {"bert.pooler.dense", "bert.encoder.layer.1.attention.output.dense",
                             "bert.encoder.layer.0.intermediate.dense"}) {
    EXPECT_TRUE(SavesModule(config, module)) << module;
  }
  for (const char* module : {"bert.my_pooler.dense", "bert.encoder.layer.11.attention.output.dense",
                             "bert.encoder.layer.0.output.dense", "bert.encoder.layer.1.intermediate.dense"}) {
    EXPECT_FALSE(SavesModule(config, module)) << module;
  }
  // Blocks that hold a norm too cannot be saved by their name.
  EXPECT_FALSE(SavesModule("output", "bert.encoder.layer.0.output.dense"));
  EXPECT_FALSE(SavesModule("layer.0", kQuery0));
  EXPECT_FALSE(SavesModule("", "dense"));
}

TEST(MatchLora, HasABoundOfPatterns) {
  LoraConfig config = Targets({"query"});
  for (int i = 0; i < 512; ++i) config.rank_pattern["layer." + std::to_string(i)] = 4;
  EXPECT_TRUE(CheckLoraPatterns(config).ok());
  config.rank_pattern["one.more"] = 4;
  EXPECT_EQ(GetField(CheckLoraPatterns(config)), "rank_pattern");
}

TEST(MatchLora, ScaleAndPatterns) {
  LoraConfig config = Targets({"query"});
  config.r = 8;
  config.alpha = 16;
  config.rank_pattern = {{"layer.1.attention.self.query", 4}};
  config.alpha_pattern = {{"layer.1.attention.self.query", 2}};
  EXPECT_EQ(MatchLora(config, kQuery0)->r, 8);
  EXPECT_DOUBLE_EQ(MatchLora(config, kQuery0)->scale, 2);
  EXPECT_EQ(MatchLora(config, kQuery1)->r, 4);
  EXPECT_DOUBLE_EQ(MatchLora(config, kQuery1)->scale, 0.5);
  config.use_rslora = true;
  EXPECT_DOUBLE_EQ(MatchLora(config, kQuery0)->scale, 16 / std::sqrt(8.0));
  EXPECT_DOUBLE_EQ(MatchLora(config, kQuery1)->scale, 1);
}

TEST(MatchLora, PatternKeysAreRegularExpressions) {
  LoraConfig config = Targets({"query"});
  config.rank_pattern = {{"layer.1.*", 2}};
  EXPECT_EQ(MatchLora(config, kQuery1)->r, 2);
  EXPECT_EQ(MatchLora(config, kQuery10)->r, 2) << "PEFT's dot matches any character too";
  EXPECT_EQ(MatchLora(config, kQuery0)->r, 8);
  config.rank_pattern = {{"^bert.*layer.0.*", 3}};
  EXPECT_EQ(MatchLora(config, kQuery0)->r, 3);
  config.rank_pattern = {{"^encoder.*", 3}};
  EXPECT_EQ(MatchLora(config, kQuery0)->r, 8) << "^ is the start of the whole name";
  config.rank_pattern = {{"uery", 3}};
  EXPECT_EQ(MatchLora(config, kQuery0)->r, 8);
  config.rank_pattern = {{"layer.0.attention.self.key|query", 5}};
  EXPECT_EQ(MatchLora(config, kQuery0)->r, 5);
}

TEST(CheckLoraPatterns, NamesTheOption) {
  LoraConfig config = Targets({"query"});
  EXPECT_TRUE(CheckLoraPatterns(config).ok());
  config.rank_pattern = {{"layer.(0", 4}};
  const absl::Status status = CheckLoraPatterns(config);
  EXPECT_EQ(GetReason(status), Reason::kOptionInvalid);
  EXPECT_EQ(GetField(status), "rank_pattern");
}

TEST(ModulePattern, RefusesWhatPythonReadsDifferently) {
  for (const char* pattern :
       {R"(\Aquery)", R"(query\Z)",  R"((a)\1)", "(?P<n>a)", "(?i)a",    "(?<=a)b", "(?#note)", "[]a]",
        "[^]a]",      "[[:alpha:]]", "a++",      "a*?+",     "a{1}{2}",  "a**",     "(a",       "a)",
        "[a",         "*a",          "a{2",      R"(\x41)",  R"(\p{L})", "\xC3\xA9"}) {
    EXPECT_FALSE(ModulePattern::Compile(pattern).ok()) << pattern;
  }
  EXPECT_THAT(std::string(ModulePattern::Compile(std::string(1001, 'a')).status().message()), HasSubstr("1001 bytes"));
  EXPECT_FALSE(ModulePattern::Compile("((((a{100}){100}){100}){100})").ok()) << "the automaton would be huge";
}

TEST(ModulePattern, ReadsTheCommonSyntax) {
  const auto matches = [](const std::string& pattern, const std::string& name) {
    const auto compiled = ModulePattern::Compile(pattern);
    EXPECT_TRUE(compiled.ok()) << pattern << compiled.status();
    return compiled.ok() && compiled->Matches(name);
  };
  EXPECT_TRUE(matches("(?:a|b)+c?", "abba"));
  EXPECT_TRUE(matches("a(?=b)b", "ab"));
  EXPECT_TRUE(matches("(?!key).*", "query"));
  EXPECT_FALSE(matches("(?!key).*", "key"));
  EXPECT_TRUE(matches("[a-c0-9_]{2,3}", "a_9"));
  EXPECT_TRUE(matches(R"(a\.b\[0\])", "a.b[0]"));
  EXPECT_TRUE(matches("a*?b", "aab"));
  EXPECT_TRUE(matches("^a.*b$", "a..b"));
}

TEST(ModulePattern, CatastrophicPatternsFinish) {
  const auto compiled = ModulePattern::Compile("(a*)*(a|aa)+(.*.*)*b");
  ASSERT_TRUE(compiled.ok());
  EXPECT_FALSE(compiled->Matches(std::string(200, 'a')));
}

}  // namespace
}  // namespace tenon::formats
