#include "common/formats/adapter_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What PEFT 0.21 writes for a SEQ_CLS adapter, shortened by keys that are null.
constexpr char kPeft[] =
    R"({"alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null, "auto_mapping": null,
  "base_model_name_or_path": "minilm", "bias": "none", "corda_config": null, "ensure_weight_tying": false, "eva_config": null,
  "exclude_modules": null, "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true, "layer_replication": null,
  "layers_pattern": null, "layers_to_transform": null, "loftq_config": {}, "lora_alpha": 16, "lora_bias": false,
  "lora_dropout": 0.1, "megatron_config": null, "megatron_core": "megatron.core", "modules_to_save": ["classifier", "score"],
  "peft_type": "LORA", "peft_version": "0.21.2", "qalora_group_size": 16, "r": 8, "rank_pattern": {}, "revision": null,
  "target_modules": ["value", "query"], "target_parameters": null, "task_type": "SEQ_CLS", "trainable_token_indices": null,
  "use_dora": false, "use_qalora": false, "use_rslora": false})";

LoraConfig Parse(const std::string& json) {
  const auto config = ParseLoraConfig(json);
  EXPECT_TRUE(config.ok()) << json << config.status();
  return config.ok() ? *config : LoraConfig();
}

// A minimal file with one more key.
std::string With(const std::string& more) {
  return absl::StrCat(R"({"peft_type":"LORA")", more.empty() ? "" : ",", more, "}");
}

TEST(LoraConfig, ReadsWhatPeftWrites) {
  const LoraConfig config = Parse(kPeft);
  EXPECT_EQ(config.r, 8);
  EXPECT_EQ(config.alpha, 16);
  EXPECT_EQ(config.dropout, 0.1);
  EXPECT_THAT(config.target_modules, ElementsAre("value", "query"));
  EXPECT_THAT(config.modules_to_save, ElementsAre("classifier", "score"));
  EXPECT_EQ(config.task_type, "SEQ_CLS");
  EXPECT_EQ(config.base_model_name_or_path, "minilm");
}

TEST(LoraConfig, DefaultsArePefts) {
  const LoraConfig config = Parse(With(""));
  EXPECT_EQ(config.r, 8);
  EXPECT_EQ(config.alpha, 8);
  EXPECT_EQ(config.dropout, 0);
  EXPECT_THAT(config.target_modules, ElementsAre("query", "value"));
  EXPECT_TRUE(config.modules_to_save.empty());
}

TEST(LoraConfig, SeqClsSavesTheHeadOnce) {
  EXPECT_THAT(Parse(With(R"("task_type":"SEQ_CLS")")).modules_to_save, ElementsAre("classifier", "score"));
  EXPECT_THAT(Parse(With(R"("task_type":"SEQ_CLS","modules_to_save":["score","pooler","score"])")).modules_to_save,
              ElementsAre("score", "pooler", "classifier"));
}

TEST(LoraConfig, ReadsTheThreeKindsOfTargets) {
  EXPECT_TRUE(Parse(With(R"("target_modules":"All-Linear")")).all_linear);
  EXPECT_EQ(Parse(With(R"("target_modules":".*\\.(query|value)$")")).target_regex, ".*\\.(query|value)$");
  EXPECT_EQ(Parse(With(R"("exclude_modules":".*layer\\.0.*")")).exclude_regex, ".*layer\\.0.*");
}

struct Bad {
  const char* json;
  Reason reason;
  const char* field;
};

class BadLoraConfig : public ::testing::TestWithParam<Bad> {};

TEST_P(BadLoraConfig, NamesTheKey) {
  const auto config = ParseLoraConfig(GetParam().json);
  EXPECT_EQ(GetReason(config.status()), GetParam().reason) << GetParam().json << config.status();
  EXPECT_EQ(GetField(config.status()), GetParam().field);
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("adapter_config.json"));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadLoraConfig,
    ::testing::Values(
        Bad{"", Reason::kAdapterInvalid, "adapter_config.json"},
        Bad{"[]", Reason::kAdapterInvalid, "adapter_config.json"},
        Bad{R"({"r":8})", Reason::kAdapterInvalid, "peft_type"},
        Bad{R"({"peft_type":"LOHA"})", Reason::kUnsupported, "peft_type"},
        Bad{R"({"peft_type":"LORA","peft_type":"LORA"})", Reason::kAdapterInvalid, "adapter_config.json"},
        Bad{R"({"peft_type":"LORA","use_dora":true})", Reason::kUnsupported, "use_dora"},
        Bad{R"({"peft_type":"LORA","lora_bias":true})", Reason::kUnsupported, "lora_bias"},
        Bad{R"({"peft_type":"LORA","bias":"all"})", Reason::kUnsupported, "bias"},
        Bad{R"({"peft_type":"LORA","fan_in_fan_out":1})", Reason::kAdapterInvalid, "fan_in_fan_out"},
        Bad{R"({"peft_type":"LORA","layers_to_transform":[1]})", Reason::kUnsupported, "layers_to_transform"},
        Bad{R"({"peft_type":"LORA","layers_pattern":"layer"})", Reason::kUnsupported, "layers_pattern"},
        Bad{R"({"peft_type":"LORA","layer_replication":[[0,1]]})", Reason::kUnsupported, "layer_replication"},
        Bad{R"({"peft_type":"LORA","target_parameters":["x"]})", Reason::kUnsupported, "target_parameters"},
        Bad{R"({"peft_type":"LORA","trainable_token_indices":[1]})", Reason::kUnsupported, "trainable_token_indices"},
        Bad{R"({"peft_type":"LORA","alora_invocation_tokens":[1]})", Reason::kUnsupported, "alora_invocation_tokens"},
        Bad{R"({"peft_type":"LORA","init_lora_weights":"pissa"})", Reason::kUnsupported, "init_lora_weights"},
        Bad{R"({"peft_type":"LORA","task_type":"CAUSAL"})", Reason::kUnsupported, "task_type"},
        Bad{R"({"peft_type":"LORA","a_key_of_tomorrow":1})", Reason::kUnsupported, "a_key_of_tomorrow"},
        Bad{R"({"peft_type":"LORA","r":0})", Reason::kAdapterInvalid, "r"},
        Bad{R"({"peft_type":"LORA","r":-8})", Reason::kAdapterInvalid, "r"},
        Bad{R"({"peft_type":"LORA","r":8.0})", Reason::kAdapterInvalid, "r"},
        Bad{R"({"peft_type":"LORA","r":1000000000})", Reason::kAdapterInvalid, "r"},
        Bad{R"({"peft_type":"LORA","lora_alpha":"16"})", Reason::kAdapterInvalid, "lora_alpha"},
        Bad{R"({"peft_type":"LORA","lora_dropout":2})", Reason::kAdapterInvalid, "lora_dropout"},
        Bad{R"({"peft_type":"LORA","use_rslora":1})", Reason::kAdapterInvalid, "use_rslora"},
        Bad{R"({"peft_type":"LORA","target_modules":[]})", Reason::kAdapterInvalid, "target_modules"},
        Bad{R"({"peft_type":"LORA","target_modules":[""]})", Reason::kAdapterInvalid, "target_modules"},
        Bad{R"({"peft_type":"LORA","target_modules":""})", Reason::kAdapterInvalid, "target_modules"},
        Bad{R"({"peft_type":"LORA","target_modules":"(a"})", Reason::kAdapterInvalid, "target_modules"},
        Bad{R"({"peft_type":"LORA","exclude_modules":"(?<=a)b"})", Reason::kAdapterInvalid, "exclude_modules"},
        Bad{R"({"peft_type":"LORA","rank_pattern":{"a":0}})", Reason::kAdapterInvalid, "rank_pattern"},
        Bad{R"({"peft_type":"LORA","rank_pattern":["a"]})", Reason::kAdapterInvalid, "rank_pattern"},
        Bad{R"({"peft_type":"LORA","rank_pattern":{"(":4}})", Reason::kAdapterInvalid, "rank_pattern"},
        Bad{R"({"peft_type":"LORA","alpha_pattern":{"a":null}})", Reason::kAdapterInvalid, "alpha_pattern"}));

TEST(LoraConfig, WrittenConfigReadsBack) {
  LoraConfig config;
  config.r = 4;
  config.alpha = 12;
  config.dropout = 0.25;
  config.target_modules = {"value", "query"};
  config.exclude_modules = {"layer.0.attention.self.query"};
  config.rank_pattern = {{"layer.1.attention.self.query", 16}};
  config.alpha_pattern = {{"layer.1.attention.self.query", 0.5}};
  config.use_rslora = true;
  config.task_type = "SEQ_CLS";
  config.modules_to_save = {"classifier", "score"};
  config.base_model_name_or_path = "bases/minilm";
  const std::string text = WriteLoraConfig(config);
  const LoraConfig read = Parse(text);
  EXPECT_THAT(read.target_modules, ElementsAre("query", "value"));
  EXPECT_EQ(read.rank_pattern, config.rank_pattern);
  EXPECT_EQ(read.alpha_pattern, config.alpha_pattern);
  EXPECT_EQ(read.exclude_modules, config.exclude_modules);
  EXPECT_EQ(read.modules_to_save, config.modules_to_save);
  EXPECT_TRUE(read.use_rslora);
  EXPECT_EQ(WriteLoraConfig(read), text);
  EXPECT_THAT(text, HasSubstr("\"lora_alpha\": 12,\n"));
  EXPECT_THAT(text, HasSubstr("\"inference_mode\": true"));
}

TEST(LoraConfig, OtherTargetsReadBack) {
  LoraConfig config;
  config.all_linear = true;
  EXPECT_TRUE(Parse(WriteLoraConfig(config)).all_linear);
  config = {};
  config.target_regex = ".*query";
  config.exclude_regex = ".*0.*";
  EXPECT_EQ(Parse(WriteLoraConfig(config)).target_regex, ".*query");
  EXPECT_EQ(Parse(WriteLoraConfig(config)).exclude_regex, ".*0.*");
}

TEST(TenonConfig, ReadsBackWithAndWithoutItsJob) {
  TenonConfig config;
  config.task = "sequence_classification";
  config.method = "head";
  config.labels = {"world", "sport \xC3\xA9"};
  config.multi_label = true;
  config.base_digest = std::string(64, 'a');
  config.pooling = Pooling::kCls;
  config.normalize = true;
  config.max_input_tokens = 128;
  config.job = "finetuneJobs/1";
  const auto read = ParseTenonConfig(WriteTenonConfig(config, true));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->labels, config.labels);
  EXPECT_EQ(read->pooling, Pooling::kCls);
  EXPECT_EQ(read->job, "finetuneJobs/1");
  EXPECT_EQ(read->max_input_tokens, 128);
  EXPECT_TRUE(read->multi_label);
  EXPECT_EQ(ParseTenonConfig(WriteTenonConfig(config, false))->job, "");
  TenonConfig other = config;
  other.job = "finetuneJobs/2";
  EXPECT_EQ(WriteTenonConfig(config, false), WriteTenonConfig(other, false));
  EXPECT_NE(WriteTenonConfig(config, true), WriteTenonConfig(other, true));
}

TEST(TenonConfig, AScorerOfSentencesHasTwoLabelsAndIsReadBack) {
  TenonConfig config{.task = "sequence_classification", .method = "lora", .labels = {"other", "extract"}};
  config.sentence_scorer = SentenceScorer{.neighbours = 2};
  const auto read = ParseTenonConfig(WriteTenonConfig(config, true));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->sentence_scorer, config.sentence_scorer);
  const std::string rest = R"("task":"sequence_classification","method":"lora","labels":["a","b"])";
  const auto field = [](const std::string& json) { return GetField(ParseTenonConfig("{" + json + "}").status()); };
  EXPECT_EQ(field(rest), "") << "a scorer is not needed";
  EXPECT_FALSE(ParseTenonConfig("{" + rest + "}")->sentence_scorer.has_value());
  EXPECT_EQ(field(rest + R"(,"sentence_scorer":{"neighbours":65})"), "sentence_scorer");
  EXPECT_EQ(field(rest + R"(,"sentence_scorer":{"near":1})"), "sentence_scorer");
  EXPECT_EQ(field(rest + R"(,"sentence_scorer":3)"), "sentence_scorer");
  EXPECT_EQ(field(rest + R"(,"multi_label":true,"sentence_scorer":{"neighbours":1})"), "sentence_scorer");
  config.labels.push_back("third");
  EXPECT_EQ(GetField(ParseTenonConfig(WriteTenonConfig(config, true)).status()), "sentence_scorer");
}

TEST(TenonConfig, ARegressionSaysSoAndOthersStayAsTheyAre) {
  TenonConfig config{.task = "sequence_classification", .method = "lora", .labels = {"LABEL_0"}};
  EXPECT_EQ(WriteTenonConfig(config, true).find("problem_type"), std::string::npos);
  config.regression = true;
  const auto read = ParseTenonConfig(WriteTenonConfig(config, true));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->regression);
  const std::string rest = R"("task":"sequence_classification","method":"lora","labels":["a","b"])";
  const auto field = [](const std::string& json) { return GetField(ParseTenonConfig("{" + json + "}").status()); };
  EXPECT_EQ(field(rest + R"(,"problem_type":"regression")"), "");
  EXPECT_EQ(field(rest + R"(,"problem_type":"ranking")"), "problem_type");
  EXPECT_EQ(field(rest + R"(,"problem_type":7)"), "problem_type");
  EXPECT_EQ(field(rest + R"(,"problem_type":"regression","multi_label":true)"), "problem_type");
  EXPECT_EQ(field(R"("task":"feature_extraction","method":"lora","problem_type":"regression")"), "problem_type");
  EXPECT_EQ(field(rest + R"(,"problem_type":"regression","sentence_scorer":{"neighbours":1})"), "sentence_scorer");
}

// What PEFT itself targets where nothing is said.
TEST(LoraConfigDefaults, GoByTheTask) {
  const auto targets = [](const char* json) { return ParseLoraConfig(json)->target_modules; };
  EXPECT_EQ(targets(R"({"peft_type":"LORA","task_type":"SEQ_CLS"})"), (std::vector<std::string>{"query", "value"}));
  EXPECT_EQ(targets(R"({"peft_type":"LORA","task_type":"SEQ_2_SEQ_LM"})"), (std::vector<std::string>{"q", "v"}));
}

TEST(TenonConfig, NamesTheKey) {
  const std::string good = R"({"task":"feature_extraction","method":"lora")";
  const auto expect = [](const std::string& json, Reason reason, const std::string& field) {
    const auto config = ParseTenonConfig(json);
    EXPECT_EQ(GetReason(config.status()), reason) << json << config.status();
    EXPECT_EQ(GetField(config.status()), field);
  };
  EXPECT_TRUE(ParseTenonConfig(good + "}").ok());
  EXPECT_TRUE(ParseTenonConfig(R"({"task":"seq2seq","method":"lora"})").ok());
  expect(good + R"(,"extra":null})", Reason::kUnsupported, "extra");
  expect(good + R"(,"base_digest":"XYZ"})", Reason::kAdapterInvalid, "base_digest");
  expect(good + R"(,"pooling":"sum"})", Reason::kAdapterInvalid, "pooling");
  expect(good + R"(,"max_input_tokens":-1})", Reason::kAdapterInvalid, "max_input_tokens");
  expect(good + R"(,"labels":["a","a"]})", Reason::kAdapterInvalid, "labels");
  expect(good + R"(,"labels":[1]})", Reason::kAdapterInvalid, "labels");
  expect(R"({"task":"sequence_classification","method":"lora"})", Reason::kAdapterInvalid, "labels");
  EXPECT_TRUE(ParseTenonConfig(R"({"task":"causal_lm","method":"lora"})").ok());
  expect(R"({"task":"causal","method":"lora"})", Reason::kUnsupported, "task");
  expect(R"({"task":"causal_lm","method":"lora","text_template":{"input":"{a}","target":"{b}"}})",
         Reason::kAdapterInvalid, "text_template");
  expect(R"({"task":"feature_extraction","method":"full"})", Reason::kUnsupported, "method");
  expect("{", Reason::kAdapterInvalid, "tenon.json");
}

}  // namespace
}  // namespace tenon::formats
