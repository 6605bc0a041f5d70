#include "common/formats/causal_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/formats/base_config.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::formats {
namespace {

using ::testing::ElementsAre;

// As the hub has them, but for keys that nobody looks at.
constexpr char kGpt2[] = R"({"activation_function":"gelu_new","architectures":["GPT2LMHeadModel"],"attn_pdrop":0.1,
  "bos_token_id":50256,"embd_pdrop":0.1,"eos_token_id":50256,"initializer_range":0.02,"layer_norm_epsilon":1e-05,
  "model_type":"gpt2","n_ctx":1024,"n_embd":768,"n_head":12,"n_layer":12,"n_positions":1024,"resid_pdrop":0.1,
  "summary_type":"cls_index","task_specific_params":{"text-generation":{"do_sample":true,"max_length":50}},"vocab_size":50257})";
constexpr char kOpt350[] = R"({"_remove_final_layer_norm":false,"activation_dropout":0.0,"activation_function":"relu",
  "architectures":["OPTForCausalLM"],"attention_dropout":0.0,"bos_token_id":2,"do_layer_norm_before":false,"dropout":0.1,
  "eos_token_id":2,"ffn_dim":4096,"hidden_size":1024,"init_std":0.02,"layerdrop":0.0,"max_position_embeddings":2048,
  "model_type":"opt","num_attention_heads":16,"num_hidden_layers":24,"pad_token_id":1,"prefix":"</s>",
  "torch_dtype":"float16","use_cache":true,"vocab_size":50272,"word_embed_proj_dim":512})";

class CausalConfigTest : public ::testing::Test {
 protected:
  absl::StatusOr<CausalConfig> Read(const std::string& json) {
    folder_.Write("config.json", json);
    return ReadCausalConfig(folder_.path());
  }
  void ExpectError(const std::string& json, Reason reason, const std::string& field) {
    const absl::Status status = Read(json).status();
    EXPECT_EQ(GetReason(status), reason) << json << status;
    EXPECT_EQ(GetField(status), field) << json << status;
  }

  const test::TempFolder folder_;
};

TEST_F(CausalConfigTest, ReadsGpt2) {
  const auto config = Read(kGpt2);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hidden_size, 768);
  EXPECT_EQ(config->word_size, 768);
  EXPECT_EQ(config->intermediate_size, 3072);
  EXPECT_EQ(config->max_tokens, 1024);
  EXPECT_EQ(config->position_offset, 0);
  EXPECT_EQ(config->activation, "gelu_new");
  EXPECT_TRUE(config->norm_first && config->final_norm && config->tied);
  EXPECT_TRUE(config->family->turned);
  EXPECT_THAT(config->family->Layer(3).qkv, ElementsAre("h.3.attn.c_attn"));
  EXPECT_EQ(config->family->Layer(3).output, "h.3.mlp.c_proj");
}

TEST_F(CausalConfigTest, ReadsOpt) {
  const auto config = Read(kOpt350);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hidden_size, 1024);
  EXPECT_EQ(config->word_size, 512);
  EXPECT_TRUE(config->projects());
  EXPECT_EQ(config->max_tokens, 2048);
  EXPECT_EQ(config->position_offset, 2);
  EXPECT_EQ(config->activation, "relu");
  EXPECT_FALSE(config->norm_first || config->final_norm);
  EXPECT_FALSE(config->family->turned);
  EXPECT_THAT(config->family->Layer(0).qkv,
              ElementsAre("layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj", "layers.0.self_attn.v_proj"));
}

TEST_F(CausalConfigTest, MissingKeysHaveTheLibrarysValues) {
  const auto gpt2 = Read(R"({"model_type":"gpt2"})"), opt = Read(R"({"model_type":"opt"})");
  ASSERT_TRUE(gpt2.ok() && opt.ok());
  EXPECT_EQ(gpt2->vocab_size, 50257);
  EXPECT_EQ(opt->vocab_size, 50272);
  EXPECT_EQ(opt->word_size, 768);
  EXPECT_TRUE(opt->norm_first && opt->final_norm);
}

TEST_F(CausalConfigTest, WhatIsNotSupportedIsNamed) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {R"("model_type":"gpt2","scale_attn_weights":false)", "scale_attn_weights"},
      {R"("model_type":"gpt2","scale_attn_by_inverse_layer_idx":true)", "scale_attn_by_inverse_layer_idx"},
      {R"("model_type":"gpt2","add_cross_attention":true)", "add_cross_attention"},
      {R"("model_type":"gpt2","activation_function":"silu")", "activation_function"},
      {R"("model_type":"gpt2","architectures":["GPT2ForSequenceClassification"])", "architectures"},
      {R"("model_type":"gpt2","quantization_config":{"bits":4})", "quantization_config"},
      {R"("model_type":"opt","enable_bias":false)", "enable_bias"},
      {R"("model_type":"opt","layer_norm_elementwise_affine":false)", "layer_norm_elementwise_affine"},
      {R"("model_type":"llama")", "model_type"}};
  for (const auto& [json, field] : bad) ExpectError("{" + json + "}", Reason::kUnsupported, field);
}

TEST_F(CausalConfigTest, WhatIsWrongIsNamed) {
  ExpectError(R"({"model_type":"gpt2","n_embd":770})", Reason::kBaseInvalid, "n_embd");
  ExpectError(R"({"model_type":"gpt2","n_layer":0})", Reason::kBaseInvalid, "n_layer");
  ExpectError(R"({"model_type":"opt","num_attention_heads":7})", Reason::kBaseInvalid, "hidden_size");
  ExpectError(R"({"model_type":"opt","do_layer_norm_before":1})", Reason::kBaseInvalid, "do_layer_norm_before");
}

TEST_F(CausalConfigTest, ABaseIsOfThisKind) {
  folder_.Write("config.json", kGpt2);
  const auto config = ReadBaseConfig(folder_.path());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(std::holds_alternative<CausalConfig>(*config));
  for (const char* name : {"model.safetensors", "vocab.json", "merges.txt", "generation_config.json"}) {
    folder_.Write(name, "{}");
  }
  const auto files = BaseFiles(folder_.path());
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> names;
  for (const auto& [name, path] : *files) names.push_back(name);
  EXPECT_THAT(names,
              ElementsAre("config.json", "model.safetensors", "vocab.json", "merges.txt", "generation_config.json"));
}

TEST_F(CausalConfigTest, ThePrefixIsTheFiles) {
  const CausalFamily& opt = *FindCausalFamily("opt");
  const auto prefix = [&](const std::string& there) {
    return FindPrefix(opt, [&](const std::string& name) { return name == there; });
  };
  EXPECT_EQ(prefix("model.decoder.embed_tokens.weight"), "model.decoder.");
  EXPECT_EQ(prefix("decoder.embed_tokens.weight"), "decoder.");
  EXPECT_EQ(prefix("others"), "model.decoder.");
  EXPECT_EQ(FindCausalFamily("bert"), nullptr);
}

}  // namespace
}  // namespace tenon::formats
