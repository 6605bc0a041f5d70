#include "common/formats/bottleneck_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "common/formats/status.h"

namespace tenon::formats {
namespace {

using ::testing::ElementsAre;
using Json = nlohmann::json;

// What adapters 1.3 writes for seq_bn on a BertForSequenceClassification.
Json Hub() {
  return Json::parse(R"({"config": {"adapter_residual_before_ln": false, "cross_adapter": false, "dropout": 0.0,
    "factorized_phm_W": true, "factorized_phm_rule": false, "hypercomplex_nonlinearity": "glorot-uniform",
    "init_weights": "bert", "init_weights_seed": null, "inv_adapter": null, "inv_adapter_reduction_factor": null,
    "is_parallel": false, "learn_phm": true, "leave_out": [], "ln_after": false, "ln_before": false, "mh_adapter": false,
    "non_linearity": "relu", "original_ln_after": true, "original_ln_before": true, "output_adapter": true,
    "phm_bias": true, "phm_c_init": "normal", "phm_dim": 4, "phm_init_range": 0.0001, "phm_layer": false, "phm_rank": 1,
    "reduction_factor": 16, "residual_before_ln": true, "scaling": 1.0, "shared_W_phm": false, "shared_phm_rule": true,
    "stochastic_depth": 0.0, "use_gating": false}, "hidden_size": 32, "model_class": "BertForSequenceClassification",
    "model_name": "", "model_type": "bert", "name": "tickets", "version": "adapters.1.3.0"})");
}

TEST(BottleneckConfig, ReadsWhatAdapterHubWrites) {
  const auto config = ParseBottleneckConfig(Hub().dump());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->after_attention);
  EXPECT_TRUE(config->after_feed_forward);
  EXPECT_TRUE(config->reads_norm);
  EXPECT_FALSE(config->parallel);
  EXPECT_EQ(config->reduction_factor, 16);
  EXPECT_EQ(config->non_linearity, "relu");
  EXPECT_EQ(config->scaling, 1);
  EXPECT_EQ(config->hidden_size, 32);
  EXPECT_EQ(config->name, "tickets");
  EXPECT_EQ(config->model_class, "BertForSequenceClassification");
}

TEST(BottleneckConfig, EveryLayoutReadsBack) {
  for (const char* name : {"seq_bn", "double_seq_bn", "par_bn"}) {
    const BottleneckConfig config = LayoutConfig(*ParseLayout(name));
    const auto back = ParseBottleneckConfig(WriteBottleneckConfig(config));
    ASSERT_TRUE(back.ok()) << name << back.status();
    EXPECT_EQ(WriteBottleneckConfig(*back), WriteBottleneckConfig(config)) << name;
  }
  const BottleneckConfig twice = LayoutConfig(BottleneckLayout::kDoubleSeqBn);
  EXPECT_TRUE(twice.after_attention && twice.after_feed_forward && !twice.reads_norm);
  EXPECT_EQ(twice.non_linearity, "swish");
  const BottleneckConfig beside = LayoutConfig(BottleneckLayout::kParBn);
  EXPECT_TRUE(beside.parallel && !beside.after_attention);
  EXPECT_EQ(beside.scaling, 4);
  EXPECT_EQ(beside.reduction_factor, 2);
}

TEST(BottleneckConfig, ATextWriterMayHaveBlocksBehindCrossAttention) {
  Json json = Hub();
  json["model_type"] = "t5";
  json["model_class"] = "T5ForConditionalGeneration";
  json["config"]["cross_adapter"] = true;
  json["config"]["output_adapter"] = false;
  const auto config = ParseBottleneckConfig(json.dump());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model_type, "t5");
  EXPECT_TRUE(config->after_cross_attention);
  EXPECT_FALSE(config->after_feed_forward || config->after_attention);
  const auto back = ParseBottleneckConfig(WriteBottleneckConfig(*config));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(back->after_cross_attention);
  EXPECT_EQ(back->model_type, "t5");
  EXPECT_EQ(WriteBottleneckConfig(*back), WriteBottleneckConfig(*config));
}

struct Bad {
  const char* pointer;  // of the value that is changed
  Json value;
  Reason reason;
  const char* field;
};

class BadBottleneckConfig : public ::testing::TestWithParam<Bad> {};

TEST_P(BadBottleneckConfig, NamesTheKey) {
  Json json = Hub();
  json[Json::json_pointer(GetParam().pointer)] = GetParam().value;
  const absl::Status status = ParseBottleneckConfig(json.dump()).status();
  EXPECT_EQ(GetReason(status), GetParam().reason) << status;
  EXPECT_EQ(GetField(status), GetParam().field) << status;
}

INSTANTIATE_TEST_SUITE_P(
    All, BadBottleneckConfig,
    ::testing::Values(
        Bad{"/config", nullptr, Reason::kAdapterInvalid, "config"}, Bad{"/name", "", Reason::kAdapterInvalid, "name"},
        Bad{"/name", "a.b", Reason::kAdapterInvalid, "name"},
        Bad{"/model_type", "mt5", Reason::kUnsupported, "model_type"},
        Bad{"/model_type", "dpr", Reason::kUnsupported, "model_type"},
        Bad{"/tomorrow", 1, Reason::kUnsupported, "tomorrow"},
        Bad{"/hidden_size", 0, Reason::kAdapterInvalid, "hidden_size"},
        Bad{"/config/architecture", "lora", Reason::kUnsupported, "architecture"},
        Bad{"/config/ln_before", true, Reason::kUnsupported, "ln_before"},
        Bad{"/config/ln_after", true, Reason::kUnsupported, "ln_after"},
        Bad{"/config/use_gating", true, Reason::kUnsupported, "use_gating"},
        Bad{"/config/phm_layer", true, Reason::kUnsupported, "phm_layer"},
        Bad{"/config/inv_adapter", "nice", Reason::kUnsupported, "inv_adapter"},
        Bad{"/config/cross_adapter", true, Reason::kUnsupported, "cross_adapter"},
        Bad{"/config/leave_out", Json::array({1}), Reason::kUnsupported, "leave_out"},
        Bad{"/config/stochastic_depth", 0.1, Reason::kUnsupported, "stochastic_depth"},
        Bad{"/config/adapter_residual_before_ln", true, Reason::kUnsupported, "adapter_residual_before_ln"},
        Bad{"/config/original_ln_after", false, Reason::kUnsupported, "original_ln_after"},
        Bad{"/config/residual_before_ln", "post_add", Reason::kUnsupported, "residual_before_ln"},
        Bad{"/config/scaling", "learned", Reason::kUnsupported, "scaling"},
        Bad{"/config/reduction_factor", Json({{"1", 8}, {"default", 16}}), Reason::kUnsupported, "reduction_factor"},
        Bad{"/config/reduction_factor", 0, Reason::kAdapterInvalid, "reduction_factor"},
        Bad{"/config/non_linearity", "leakyrelu", Reason::kUnsupported, "non_linearity"},
        Bad{"/config/non_linearity", nullptr, Reason::kAdapterInvalid, "non_linearity"},
        Bad{"/config/output_adapter", false, Reason::kAdapterInvalid, "output_adapter"},
        Bad{"/config/dropout", 2, Reason::kAdapterInvalid, "dropout"}));

TEST(HeadConfig, ReadsBackAndRefusesFlexibleHeads) {
  const BottleneckConfig config = LayoutConfig(BottleneckLayout::kSeqBn);
  const auto labels = ParseHeadConfig(WriteHeadConfig(config, {"b", "a", "c"}));
  ASSERT_TRUE(labels.ok()) << labels.status();
  EXPECT_THAT(*labels, ElementsAre("b", "a", "c"));
  EXPECT_EQ(
      GetField(
          ParseHeadConfig(R"({"config":{"head_type":"classification"},"num_labels":1,"label2id":{"a":0}})").status()),
      "config");
  for (const char* wrong : {R"({"num_labels":2,"label2id":{"a":0}})", R"({"num_labels":2,"label2id":{"a":0,"b":0}})",
                            R"({"num_labels":2,"label2id":{"a":0,"b":2}})",
                            R"({"num_labels":2,"label2id":{"a":0,"b":"1"}})", R"({"num_labels":2})"}) {
    EXPECT_EQ(GetField(ParseHeadConfig(wrong).status()), "label2id") << wrong;
  }
  EXPECT_EQ(GetField(ParseHeadConfig(R"({"num_labels":0,"label2id":{}})").status()), "num_labels");
  EXPECT_EQ(GetField(ParseHeadConfig("[]").status()), "head_config.json");
}

TEST(BottleneckConfig, WidthIsPythons) {
  BottleneckConfig config;
  const auto width = [&](double factor, int64_t hidden) {
    config.reduction_factor = factor;
    return BottleneckWidth(config, hidden);
  };
  EXPECT_EQ(width(16, 384), 24);
  EXPECT_EQ(width(16, 40), 2);
  EXPECT_EQ(width(16, 8), 1);
  EXPECT_EQ(width(2.5, 32), 12);
  EXPECT_EQ(width(0.1, 32), 319);
  EXPECT_EQ(width(0.5, 32), 64);
}

TEST(BottleneckConfig, OptionsAreNamed) {
  BottleneckConfig config = LayoutConfig(BottleneckLayout::kSeqBn);
  EXPECT_TRUE(CheckBottleneckOptions(config).ok());
  config.reduction_factor = 0;
  EXPECT_EQ(GetField(CheckBottleneckOptions(config)), "reduction_factor");
  config.reduction_factor = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(GetField(CheckBottleneckOptions(config)), "reduction_factor");
  config.reduction_factor = 8;
  config.non_linearity = "step";
  EXPECT_EQ(GetField(CheckBottleneckOptions(config)), "non_linearity");
  EXPECT_EQ(GetField(ParseLayout("pfeiffer").status()), "layout");
}

}  // namespace
}  // namespace tenon::formats
