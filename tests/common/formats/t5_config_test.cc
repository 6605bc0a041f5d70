#include "common/formats/t5_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "common/formats/base_config.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kFlanSmall[] = R"({"architectures":["T5ForConditionalGeneration"],"d_ff":1024,"d_kv":64,"d_model":512,
  "decoder_start_token_id":0,"dropout_rate":0.1,"eos_token_id":1,"feed_forward_proj":"gated-gelu","is_encoder_decoder":true,
  "layer_norm_epsilon":1e-06,"model_type":"t5","n_positions":512,"num_decoder_layers":8,"num_heads":6,"num_layers":8,
  "output_past":true,"pad_token_id":0,"relative_attention_max_distance":128,"relative_attention_num_buckets":32,
  "task_specific_params":{"summarization":{"early_stopping":true,"num_beams":4,"prefix":"sum up: "}},
  "tie_word_embeddings":false,"torch_dtype":"float32","use_cache":true,"vocab_size":32128})";

class T5ConfigTest : public ::testing::Test {
 protected:
  absl::StatusOr<T5Config> Read(const std::string& json) {
    folder_.Write("config.json", json);
    return ReadT5Config(folder_.path());
  }
  void ExpectError(const std::string& json, Reason reason, const std::string& field) {
    const absl::Status status = Read(json).status();
    EXPECT_EQ(GetReason(status), reason) << json << status;
    EXPECT_EQ(GetField(status), field) << json << status;
  }

  const test::TempFolder folder_;
};

TEST_F(T5ConfigTest, ReadsFlanSmall) {
  const auto config = Read(kFlanSmall);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->d_model, 512);
  EXPECT_EQ(config->num_heads * config->d_kv, 384);
  EXPECT_EQ(config->num_decoder_layers, 8);
  EXPECT_TRUE(config->gated);
  EXPECT_EQ(config->activation, "gelu_new");
  EXPECT_FALSE(config->tied);
  EXPECT_FALSE(config->scale_outputs);
  EXPECT_EQ(config->summary_prefix, "sum up: ");
}

TEST_F(T5ConfigTest, MissingKeysAreT5sOwn) {
  const auto config = Read("{}");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->vocab_size, 32128);
  EXPECT_EQ(config->d_ff, 2048);
  EXPECT_EQ(config->num_decoder_layers, 6);
  EXPECT_EQ(Read(R"({"num_layers":3})")->num_decoder_layers, 3);
  EXPECT_FALSE(config->gated);
  EXPECT_EQ(config->activation, "relu");
  EXPECT_TRUE(config->tied);
  EXPECT_TRUE(config->scale_outputs);
  EXPECT_EQ(config->summary_prefix, "summarize: ");
}

TEST_F(T5ConfigTest, AFileOfTransformers5SaysItOtherwise) {
  const auto config = Read(R"({"tie_word_embeddings":true,"scale_decoder_outputs":false})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->scale_outputs);
}

TEST_F(T5ConfigTest, RefusesByName) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {R"({"model_type":"mt5"})", "model_type"},
      {R"({"feed_forward_proj":"gated-silu"})", "feed_forward_proj"},
      {R"({"feed_forward_proj":"gelu"})", "feed_forward_proj"},
      {R"({"feed_forward_proj":"relu","is_gated_act":true})", "is_gated_act"},
      {R"({"feed_forward_proj":"gated-gelu","dense_act_fn":"relu"})", "dense_act_fn"},
      {R"({"is_encoder_decoder":false})", "is_encoder_decoder"},
      {R"({"architectures":["T5EncoderModel"]})", "architectures"},
      {R"({"quantization_config":{"bits":4}})", "quantization_config"}};
  for (const auto& [json, field] : cases) ExpectError(json, Reason::kUnsupported, field);
}

TEST_F(T5ConfigTest, RefusesWrongValues) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {R"({"d_kv":0})", "d_kv"},
      {R"({"num_layers":"six"})", "num_layers"},
      {R"({"relative_attention_num_buckets":3})", "relative_attention_num_buckets"},
      {R"({"relative_attention_num_buckets":32,"relative_attention_max_distance":16})",
       "relative_attention_max_distance"},
      {R"({"decoder_start_token_id":32128})", "decoder_start_token_id"},
      {R"({"tie_word_embeddings":"no"})", "tie_word_embeddings"}};
  for (const auto& [json, field] : cases) ExpectError(json, Reason::kBaseInvalid, field);
}

TEST_F(T5ConfigTest, TheFamilyDecides) {
  folder_.Write("config.json", kFlanSmall);
  const auto flan = ReadBaseConfig(folder_.path());
  ASSERT_TRUE(flan.ok()) << flan.status();
  EXPECT_TRUE(std::holds_alternative<T5Config>(*flan));
  folder_.Write("config.json", "{}");
  EXPECT_TRUE(std::holds_alternative<EncoderConfig>(*ReadBaseConfig(folder_.path())));
  folder_.Write("config.json", R"({"model_type":"mamba"})");
  const absl::Status other = ReadBaseConfig(folder_.path()).status();
  EXPECT_EQ(GetReason(other), Reason::kUnsupported);
  EXPECT_EQ(GetField(other), "model_type");
  EXPECT_THAT(std::string(other.message()), HasSubstr("bert"));
}

TEST_F(T5ConfigTest, FilesOfABaseThatGenerates) {
  folder_.Write("config.json", kFlanSmall);
  folder_.Write("model.safetensors", "");
  folder_.Write("vocab.txt", "");
  EXPECT_THAT(std::string(BaseFiles(folder_.path()).status().message()), HasSubstr("spiece.model: no such file"));
  for (const char* name : {"generation_config.json", "tokenizer.json", "spiece.model", "tokenizer_config.json"}) {
    folder_.Write(name, "");
  }
  const auto files = BaseFiles(folder_.path());
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> names;
  for (const auto& [name, path] : *files) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("config.json", "model.safetensors", "tokenizer.json", "spiece.model",
                                 "tokenizer_config.json", "generation_config.json"));
}

}  // namespace
}  // namespace tenon::formats
