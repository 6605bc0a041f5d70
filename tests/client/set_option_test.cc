#include "client/cli/set_option.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "tenon/v1/finetune_service.pb.h"

namespace tenon::cli {
namespace {

class SetOptionTest : public testing::Test {
 protected:
  absl::Status Set(const std::string& assignment) { return SetOption(assignment, {&training_, &lora_}); }
  v1::TrainingOptions training_;
  v1::LoraOptions lora_;
};

TEST_F(SetOptionTest, TypesComeFromTheContract) {
  EXPECT_TRUE(Set("learning_rate=1e-3").ok());
  EXPECT_TRUE(Set("max_steps=500").ok());
  EXPECT_TRUE(Set("schedule=cosine").ok());
  EXPECT_TRUE(Set("group_by_length=false").ok());
  EXPECT_TRUE(Set("r=8").ok());
  EXPECT_TRUE(Set("use_rslora=true").ok());
  EXPECT_EQ(training_.learning_rate(), 1e-3);
  EXPECT_EQ(training_.max_steps(), 500);
  EXPECT_EQ(training_.schedule(), "cosine");
  EXPECT_TRUE(training_.has_group_by_length());
  EXPECT_FALSE(training_.group_by_length());
  EXPECT_EQ(lora_.r(), 8);
  EXPECT_TRUE(lora_.use_rslora());
  EXPECT_FALSE(training_.has_epochs());
}

TEST_F(SetOptionTest, ListsAndMaps) {
  EXPECT_TRUE(Set("target_modules=query,value").ok());
  EXPECT_THAT(lora_.target_modules(), testing::ElementsAre("query", "value"));
  EXPECT_TRUE(Set("target_modules=all-linear").ok());  // the last one counts
  EXPECT_THAT(lora_.target_modules(), testing::ElementsAre("all-linear"));
  EXPECT_TRUE(Set(R"x(target_modules=[".*layer\\.[0-3]{1,2}\\..*(query|value)"])x").ok());
  EXPECT_THAT(lora_.target_modules(), testing::ElementsAre(R"x(.*layer\.[0-3]{1,2}\..*(query|value))x"));
  EXPECT_TRUE(Set("rank_pattern=query:16,value:4").ok());
  EXPECT_EQ(lora_.rank_pattern().at("query"), 16);
  EXPECT_EQ(lora_.rank_pattern().at("value"), 4);
  EXPECT_TRUE(Set(R"(alpha_pattern={"query":32.5})").ok());
  EXPECT_EQ(lora_.alpha_pattern().at("query"), 32.5);
}

TEST_F(SetOptionTest, AValueOfAnotherTypeIsRefusedByName) {
  for (const char* wrong :
       {"learning_rate=fast", "max_steps=1.5", "max_steps=ten", "use_rslora=maybe", "r=99999999999",
        "rank_pattern=query", "rank_pattern=query:x", "learning_rate=", "learning_rate=nan", "learning_rate=inf"}) {
    const absl::Status status = Set(wrong);
    EXPECT_EQ(GetReason(status), Reason::kOptionInvalid) << wrong;
    EXPECT_EQ(GetField(status), std::string(wrong).substr(0, std::string(wrong).find('='))) << wrong;
  }
  EXPECT_FALSE(lora_.has_r());
}

TEST_F(SetOptionTest, WhatIsOutOfRangeIsTheServersToRefuse) {
  EXPECT_TRUE(Set("r=0").ok());
  EXPECT_TRUE(Set("learning_rate=-1").ok());
  EXPECT_EQ(training_.learning_rate(), -1);
}

TEST_F(SetOptionTest, AnUnknownKeyNamesTheNearest) {
  const auto message = [&](const std::string& assignment) { return std::string(Set(assignment).message()); };
  EXPECT_THAT(message("lerning_rate=1"), testing::HasSubstr("'learning_rate'"));
  EXPECT_THAT(message("batchsize=1"), testing::HasSubstr("'batch_size'"));
  EXPECT_THAT(message("alhpa=1"), testing::HasSubstr("'alpha'"));
  EXPECT_THAT(message("lr=1"), testing::HasSubstr("'learning_rate'"));
  EXPECT_THAT(message("lora_alpha=1"), testing::HasSubstr("'alpha'"));
  EXPECT_EQ(GetField(Set("alhpa=1")), "alhpa");
  EXPECT_THAT(message("nonsense"), testing::HasSubstr("key=value"));
  EXPECT_THAT(message("=1"), testing::HasSubstr("key=value"));
}

TEST(SetOption, APromptsKeys) {
  v1::TrainingOptions training;
  v1::PromptTuningOptions prompt;
  const auto set = [&](const std::string& assignment) { return SetOption(assignment, {&training, &prompt}); };
  EXPECT_TRUE(set("num_virtual_tokens=7").ok());
  EXPECT_TRUE(set("init=text").ok());
  EXPECT_TRUE(set("init_text=Is this spam, or = ham?").ok());
  EXPECT_EQ(prompt.num_virtual_tokens(), 7);
  EXPECT_EQ(prompt.init_text(), "Is this spam, or = ham?");
  EXPECT_EQ(GetField(set("num_virtual_tokens=many")), "num_virtual_tokens");
  EXPECT_EQ(GetField(set("r=8")), "r");  // of another method
}

TEST(SetOption, ABottlenecksKeys) {
  v1::TrainingOptions training;
  v1::BottleneckOptions block;
  const auto set = [&](const std::string& assignment) { return SetOption(assignment, {&training, &block}); };
  EXPECT_TRUE(set("layout=par_bn").ok());
  EXPECT_TRUE(set("reduction_factor=2.5").ok());
  EXPECT_TRUE(set("non_linearity=tanh").ok());
  EXPECT_EQ(block.layout(), "par_bn");
  EXPECT_EQ(block.reduction_factor(), 2.5);
  EXPECT_EQ(GetField(set("reduction_factor=half")), "reduction_factor");
}

TEST(Nearest, CountsEdits) {
  EXPECT_EQ(Nearest("sede", {"save_steps", "seed", "epochs"}), "seed");
  EXPECT_EQ(Nearest("x", {}), "");
}

TEST(OptionKeys, AreTheProtosFields) {
  EXPECT_THAT(OptionKeys({&v1::TrainingOptions::default_instance(), &v1::LoraOptions::default_instance()}),
              testing::IsSupersetOf({"learning_rate",
                                     "schedule",
                                     "warmup_steps",
                                     "warmup_ratio",
                                     "batch_size",
                                     "gradient_accumulation_steps",
                                     "max_steps",
                                     "epochs",
                                     "weight_decay",
                                     "max_grad_norm",
                                     "max_input_tokens",
                                     "seed",
                                     "precision",
                                     "eval_steps",
                                     "save_steps",
                                     "early_stopping_patience",
                                     "metric_for_best",
                                     "r",
                                     "alpha",
                                     "dropout",
                                     "target_modules",
                                     "bias",
                                     "use_rslora"}));
}

}  // namespace
}  // namespace tenon::cli
