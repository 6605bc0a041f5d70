#include "common/formats/prompt_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/formats/peft_config.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

using ::testing::HasSubstr;

// What PEFT 0.21 writes for a SEQ_CLS prompt.
constexpr char kPeft[] =
    R"({"auto_mapping": null, "base_model_name_or_path": "minilm", "inference_mode": true,
  "modules_to_save": ["classifier", "score", "classifier", "score"], "num_attention_heads": 12, "num_layers": 6,
  "num_transformer_submodules": 1, "num_virtual_tokens": 4, "peft_type": "PROMPT_TUNING", "peft_version": "0.21.2",
  "prompt_tuning_init": "SAMPLE_VOCAB", "prompt_tuning_init_text": null, "revision": null, "task_type": "SEQ_CLS",
  "token_dim": 384, "tokenizer_kwargs": null, "tokenizer_name_or_path": null})";

// A minimal file with one more key.
std::string With(const std::string& more) {
  return absl::StrCat(R"({"peft_type":"PROMPT_TUNING","num_virtual_tokens":4,"task_type":"SEQ_CLS")",
                      more.empty() ? "" : ",", more, "}");
}

TEST(PromptConfig, ReadsWhatPeftWrites) {
  const auto config = ParsePromptConfig(kPeft);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->num_virtual_tokens, 4);
  EXPECT_EQ(config->init, PromptInit::kVocabulary);
  EXPECT_EQ(config->token_dim, 384);
  EXPECT_EQ(config->num_layers, 6);
  EXPECT_EQ(config->num_attention_heads, 12);
  EXPECT_EQ(config->task_type, "SEQ_CLS");
  EXPECT_EQ(config->base_model_name_or_path, "minilm");
}

TEST(PromptConfig, WrittenConfigReadsBack) {
  PromptConfig config;
  config.num_virtual_tokens = 7;
  config.init = PromptInit::kText;
  config.init_text = "Is it \"spam\"?";
  config.tokenizer_name_or_path = "bert-base";
  config.token_dim = 32;
  config.num_layers = 2;
  config.num_attention_heads = 2;
  config.task_type = "FEATURE_EXTRACTION";
  config.base_model_name_or_path = "bases/tiny";
  const auto back = ParsePromptConfig(WritePromptConfig(config));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->init, PromptInit::kText);
  EXPECT_EQ(back->init_text, config.init_text);
  EXPECT_EQ(back->num_virtual_tokens, 7);
  EXPECT_EQ(back->task_type, "FEATURE_EXTRACTION");
  EXPECT_EQ(WritePromptConfig(*back), WritePromptConfig(config));
}

TEST(PromptConfig, ATextWithoutATokenizerIsWrittenAsPeftCanOpenIt) {
  PromptConfig config;
  config.init = PromptInit::kText;
  config.init_text = "spam or ham";
  config.task_type = "SEQ_CLS";
  EXPECT_THAT(WritePromptConfig(config), HasSubstr(R"("prompt_tuning_init": "RANDOM")"));
  EXPECT_THAT(WritePromptConfig(config), HasSubstr(R"("prompt_tuning_init_text": null)"));
}

// What PEFT 0.21 writes for a T5: twice the rows unless it was told otherwise.
TEST(PromptConfig, AnEncoderDecoderHasAsManyRowsAgain) {
  const auto parse = [](const std::string& more) {
    return ParsePromptConfig(
        absl::StrCat(R"({"peft_type":"PROMPT_TUNING","num_virtual_tokens":4,"task_type":"SEQ_2_SEQ_LM")", more, "}"));
  };
  for (const auto& [more, rows] :
       std::vector<std::pair<std::string, int64_t>>{{R"(,"num_transformer_submodules":2)", 8},
                                                    {R"(,"num_transformer_submodules":null)", 8},
                                                    {"", 8},
                                                    {R"(,"num_transformer_submodules":1)", 4}}) {
    const auto config = parse(more);
    ASSERT_TRUE(config.ok()) << more << config.status();
    EXPECT_EQ(PromptRows(*config), rows) << more;
    const auto back = ParsePromptConfig(WritePromptConfig(*config));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(PromptRows(*back), rows) << more;
    EXPECT_EQ(WritePromptConfig(*back), WritePromptConfig(*config));
  }
  EXPECT_EQ(GetField(parse(R"(,"num_transformer_submodules":3)").status()), "num_transformer_submodules");
  EXPECT_EQ(GetField(parse(R"(,"modules_to_save":["lm_head"])").status()), "modules_to_save");
}

struct Bad {
  std::string json;
  Reason reason;
  std::string field;
};

class BadPromptConfig : public ::testing::TestWithParam<Bad> {};

TEST_P(BadPromptConfig, NamesTheKey) {
  const absl::Status status = ParsePromptConfig(GetParam().json).status();
  EXPECT_EQ(GetReason(status), GetParam().reason) << GetParam().json << status;
  EXPECT_EQ(GetField(status), GetParam().field);
  EXPECT_THAT(std::string(status.message()), HasSubstr("adapter_config.json"));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadPromptConfig,
    ::testing::Values(
        Bad{"[]", Reason::kAdapterInvalid, "adapter_config.json"},
        Bad{R"({"peft_type":"PROMPT_TUNING","task_type":"SEQ_CLS"})", Reason::kAdapterInvalid, "num_virtual_tokens"},
        Bad{R"({"peft_type":"PROMPT_TUNING","num_virtual_tokens":2})", Reason::kAdapterInvalid, "task_type"},
        Bad{R"({"peft_type":"P_TUNING","num_virtual_tokens":2})", Reason::kUnsupported, "peft_type"},
        Bad{R"({"peft_type":"PROMPT_TUNING","num_virtual_tokens":0,"task_type":"SEQ_CLS"})", Reason::kAdapterInvalid,
            "num_virtual_tokens"},
        Bad{R"({"peft_type":"PROMPT_TUNING","num_virtual_tokens":5000,"task_type":"SEQ_CLS"})", Reason::kAdapterInvalid,
            "num_virtual_tokens"},
        Bad{R"({"peft_type":"PROMPT_TUNING","num_virtual_tokens":4,"task_type":"CAUSAL"})", Reason::kUnsupported,
            "task_type"},
        Bad{With(R"("num_transformer_submodules":2)"), Reason::kUnsupported, "num_transformer_submodules"},
        Bad{With(R"("prompt_tuning_init":"XAVIER")"), Reason::kAdapterInvalid, "prompt_tuning_init"},
        Bad{With(R"("modules_to_save":["classifier","pooler"])"), Reason::kUnsupported, "modules_to_save"},
        Bad{With(R"("token_dim":"32")"), Reason::kAdapterInvalid, "token_dim"},
        Bad{With(R"("num_layers":-1)"), Reason::kAdapterInvalid, "num_layers"},
        Bad{With(R"("encoder_hidden_size":8)"), Reason::kUnsupported, "encoder_hidden_size"}));

TEST(PromptConfig, OptionsAreNamed) {
  const auto field = [](int64_t tokens, PromptInit init, const std::string& text) {
    PromptConfig config;
    config.num_virtual_tokens = tokens;
    config.init = init;
    config.init_text = text;
    return GetField(CheckPromptOptions(config));
  };
  EXPECT_EQ(field(8, PromptInit::kRandom, ""), "");
  EXPECT_EQ(field(8, PromptInit::kText, "spam?"), "");
  EXPECT_EQ(field(0, PromptInit::kRandom, ""), "num_virtual_tokens");
  EXPECT_EQ(field(5000, PromptInit::kRandom, ""), "num_virtual_tokens");
  EXPECT_EQ(field(8, PromptInit::kText, ""), "init_text");
  EXPECT_EQ(field(8, PromptInit::kVocabulary, "spam?"), "init_text");
  EXPECT_EQ(field(8, PromptInit::kText, std::string(20'000, 'a')), "init_text");
  EXPECT_EQ(*ParsePromptInit("vocabulary"), PromptInit::kVocabulary);
  EXPECT_EQ(GetField(ParsePromptInit("RANDOM").status()), "init");
}

TEST(PeftConfig, TheTypeDecides) {
  const auto prompt = ParsePeftConfig(kPeft), lora = ParsePeftConfig(R"({"peft_type":"LORA","task_type":"SEQ_CLS"})");
  ASSERT_TRUE(prompt.ok() && lora.ok()) << prompt.status() << lora.status();
  EXPECT_STREQ(PeftMethod(*prompt), "prompt_tuning");
  EXPECT_STREQ(PeftMethod(*lora), "lora");
  EXPECT_EQ(PeftTaskType(*prompt), "SEQ_CLS");
  EXPECT_STREQ(PeftHeadRoot(*prompt), "base_model.");
  EXPECT_STREQ(PeftHeadRoot(*lora), "base_model.model.");
  EXPECT_EQ(GetField(ParsePeftConfig(R"({"peft_type":"PREFIX_TUNING"})").status()), "peft_type");
  EXPECT_EQ(GetField(ParsePeftConfig(R"({"peft_type":7})").status()), "peft_type");
  EXPECT_EQ(GetField(ParsePeftConfig("{").status()), "adapter_config.json");
}

}  // namespace
}  // namespace tenon::formats
