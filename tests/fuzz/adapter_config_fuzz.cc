#include <gtest/gtest.h>

#include <cmath>

#include "common/formats/adapter_config.h"
#include "common/formats/bottleneck_config.h"
#include "common/formats/module_pattern.h"
#include "common/formats/peft_config.h"
#include "common/formats/status.h"
#include "tests/fuzz/mutate.h"

namespace tenon::formats {
namespace {

const std::vector<std::string>& Words() {
  static const auto* words = new std::vector<std::string>{"\"r\":",
                                                          "null",
                                                          "true",
                                                          "-1",
                                                          "1e308",
                                                          "9223372036854775807",
                                                          "{",
                                                          "}",
                                                          "[",
                                                          "]",
                                                          ",",
                                                          "\"\"",
                                                          "\"use_dora\":true",
                                                          "\"(a*)*\"",
                                                          "\"all-linear\"",
                                                          "\\\\",
                                                          "(",
                                                          ")",
                                                          "*",
                                                          "{9}",
                                                          "|",
                                                          "\"SEQ_CLS\"",
                                                          "\xC3\xA9",
                                                          "\xFF",
                                                          "\\u0000"};
  return *words;
}

TEST(AdapterConfigFuzz, LoraConfigsThatAreAcceptedAreUsable) {
  fuzz::Mutator mutator(
      {R"({"peft_type":"LORA","r":8,"lora_alpha":16,"lora_dropout":0.1,"target_modules":["query","value"],"task_type":"SEQ_CLS"})",
       R"({"peft_type":"LORA","target_modules":".*\\.(query|value)$","exclude_modules":".*0.*","use_rslora":true})",
       R"({"peft_type":"LORA","rank_pattern":{"layer.0.*":4},"alpha_pattern":{"query":2.5},"modules_to_save":["classifier"]})"},
      Words(), 5);
  int accepted = 0;
  for (int i = 0; i < 15'000; ++i) {
    const auto config = ParseLoraConfig(mutator.Next());
    if (!config.ok()) {
      const Reason reason = GetReason(config.status());
      ASSERT_TRUE(reason == Reason::kAdapterInvalid || reason == Reason::kUnsupported) << config.status();
      continue;
    }
    ++accepted;
    const auto target = MatchLora(*config, "bert.encoder.layer.0.attention.self.query");
    if (target.has_value()) {
      ASSERT_GE(target->r, 1);
      ASSERT_TRUE(std::isfinite(target->scale));
    }
    ASSERT_TRUE(ParseLoraConfig(WriteLoraConfig(*config)).ok()) << WriteLoraConfig(*config);
  }
  EXPECT_GT(accepted, 100);
}

TEST(AdapterConfigFuzz, PromptConfigsThatAreAcceptedReadBack) {
  fuzz::Mutator mutator(
      {R"({"peft_type":"PROMPT_TUNING","num_virtual_tokens":8,"task_type":"SEQ_CLS","prompt_tuning_init":"RANDOM"})",
       R"({"peft_type":"PROMPT_TUNING","num_virtual_tokens":2,"task_type":"FEATURE_EXTRACTION","token_dim":32})",
       R"({"peft_type":"PROMPT_TUNING","num_virtual_tokens":5,"task_type":"SEQ_2_SEQ_LM","num_transformer_submodules":2})",
       R"({"peft_type":"PROMPT_TUNING","num_virtual_tokens":3,"task_type":"SEQ_CLS","prompt_tuning_init":"TEXT",
           "prompt_tuning_init_text":"spam?","tokenizer_name_or_path":"t","modules_to_save":["classifier","score"]})"},
      Words(), 8);
  int accepted = 0;
  for (int i = 0; i < 60'000; ++i) {
    const auto config = ParsePromptConfig(mutator.Next());
    if (!config.ok()) {
      const Reason reason = GetReason(config.status());
      ASSERT_TRUE(reason == Reason::kAdapterInvalid || reason == Reason::kUnsupported) << config.status();
      continue;
    }
    ++accepted;
    ASSERT_GE(config->num_virtual_tokens, 1);
    const auto back = ParsePeftConfig(WritePromptConfig(*config));
    ASSERT_TRUE(back.ok()) << WritePromptConfig(*config) << back.status();
    ASSERT_EQ(WritePromptConfig(std::get<PromptConfig>(*back)), WritePromptConfig(*config));
  }
  EXPECT_GT(accepted, 100);
}

TEST(AdapterConfigFuzz, BottleneckConfigsThatAreAcceptedReadBack) {
  std::vector<std::string> seeds;
  for (const auto layout : {BottleneckLayout::kSeqBn, BottleneckLayout::kDoubleSeqBn, BottleneckLayout::kParBn}) {
    BottleneckConfig config = LayoutConfig(layout);
    config.hidden_size = 32;
    seeds.push_back(WriteBottleneckConfig(config));
    config.model_type = "t5";
    config.after_cross_attention = layout == BottleneckLayout::kSeqBn;
    seeds.push_back(WriteBottleneckConfig(config));
  }
  fuzz::Mutator mutator(seeds, Words(), 9);
  int accepted = 0;
  for (int i = 0; i < 15'000; ++i) {
    const auto config = ParseBottleneckConfig(mutator.Next());
    if (!config.ok()) {
      const Reason reason = GetReason(config.status());
      ASSERT_TRUE(reason == Reason::kAdapterInvalid || reason == Reason::kUnsupported) << config.status();
      continue;
    }
    ++accepted;
    ASSERT_GE(BottleneckWidth(*config, 384), 1);
    const auto back = ParseBottleneckConfig(WriteBottleneckConfig(*config));
    ASSERT_TRUE(back.ok()) << WriteBottleneckConfig(*config) << back.status();
    ASSERT_EQ(WriteBottleneckConfig(*back), WriteBottleneckConfig(*config));
  }
  EXPECT_GT(accepted, 100);
}

TEST(AdapterConfigFuzz, HeadConfigsNameEveryLabelOnce) {
  fuzz::Mutator mutator({WriteHeadConfig(LayoutConfig(BottleneckLayout::kSeqBn), {"a", "b", "c"}),
                         R"({"num_labels":2,"label2id":{"no":0,"yes":1},"config":null})"},
                        Words(), 10);
  int accepted = 0;
  for (int i = 0; i < 15'000; ++i) {
    const auto labels = ParseHeadConfig(mutator.Next());
    if (!labels.ok()) continue;
    ++accepted;
    for (const std::string& label : *labels) ASSERT_FALSE(label.empty());
  }
  EXPECT_GT(accepted, 100);
}

TEST(AdapterConfigFuzz, TenonConfigsReadBack) {
  fuzz::Mutator mutator(
      {R"({"task":"sequence_classification","method":"lora","labels":["a","b"],"multi_label":false,"max_input_tokens":64})",
       R"({"task":"feature_extraction","method":"lora","pooling":"cls","normalize":true,"job":"finetuneJobs/1"})"},
      Words(), 6);
  int accepted = 0;
  for (int i = 0; i < 40'000; ++i) {
    const auto config = ParseTenonConfig(mutator.Next());
    if (!config.ok()) continue;
    ++accepted;
    ASSERT_EQ(WriteTenonConfig(*ParseTenonConfig(WriteTenonConfig(*config, true)), true),
              WriteTenonConfig(*config, true));
  }
  EXPECT_GT(accepted, 100);
}

TEST(AdapterConfigFuzz, PatternsNeverHang) {
  fuzz::Mutator mutator(
      {"(a*)*b", ".*\\.(query|value)$", "(?:a|aa)+c", "[a-z]{2,5}\\d?", "(.*\\.)?(layer.[0-9]+)", "(?=a)a(?!b).*"},
      {"*", "+", "?", "{3}", "{2,}", "(", ")", "|", ".", "[", "]", "^", "$", "\\", "(?:", "(?=", "a", "(a*)*"}, 7);
  int accepted = 0;
  for (int i = 0; i < 6'000; ++i) {
    const auto pattern = ModulePattern::Compile(mutator.Next());
    if (!pattern.ok()) continue;
    ++accepted;
    pattern->Matches("bert.encoder.layer.0.attention.self.query");
    pattern->Matches("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace tenon::formats
