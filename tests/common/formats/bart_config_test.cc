#include "common/formats/bart_config.h"

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

// As it was published: with keys of its first implementation, and generation's defaults.
constexpr char kLargeCnn[] =
    R"({"_num_labels":3,"activation_dropout":0.0,"activation_function":"gelu","add_final_layer_norm":false,
  "architectures":["BartForConditionalGeneration"],"attention_dropout":0.0,"bos_token_id":0,"classif_dropout":0.0,"d_model":1024,
  "decoder_attention_heads":16,"decoder_ffn_dim":4096,"decoder_layerdrop":0.0,"decoder_layers":12,"decoder_start_token_id":2,
  "dropout":0.1,"early_stopping":true,"encoder_attention_heads":16,"encoder_ffn_dim":4096,"encoder_layerdrop":0.0,
  "encoder_layers":12,"eos_token_id":2,"force_bos_token_to_be_generated":true,"forced_bos_token_id":0,"forced_eos_token_id":2,
  "init_std":0.02,"is_encoder_decoder":true,"length_penalty":2.0,"max_length":142,"max_position_embeddings":1024,"min_length":56,
  "model_type":"bart","no_repeat_ngram_size":3,"normalize_before":false,"num_beams":4,"num_hidden_layers":12,"output_past":true,
  "pad_token_id":1,"prefix":" ","scale_embedding":false,"task_specific_params":{"summarization":{"num_beams":4}},
  "use_cache":true,"vocab_size":50264})";

class BartConfigTest : public ::testing::Test {
 protected:
  absl::StatusOr<BartConfig> Read(const std::string& json) {
    folder_.Write("config.json", json);
    return ReadBartConfig(folder_.path());
  }
  void ExpectError(const std::string& json, Reason reason, const std::string& field) {
    const absl::Status status = Read(json).status();
    EXPECT_EQ(GetReason(status), reason) << json << status;
    EXPECT_EQ(GetField(status), field) << json << status;
  }

  const test::TempFolder folder_;
};

TEST_F(BartConfigTest, ReadsLargeCnn) {
  const auto config = Read(kLargeCnn);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->d_model, 1024);
  EXPECT_EQ(config->decoder_ffn_dim, 4096);
  EXPECT_EQ(config->max_positions, 1024);
  EXPECT_EQ(config->position_rows(), 1026);
  EXPECT_EQ(config->activation, "gelu");
  EXPECT_FALSE(config->scale_embedding);
  EXPECT_EQ(config->decoder_start_token_id, 2);
  EXPECT_EQ(config->summary_prefix, "");
}

TEST_F(BartConfigTest, MissingKeysAreTransformers) {
  const auto config = Read("{}");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->vocab_size, 50265);
  EXPECT_EQ(config->encoder_layers, 12);
  EXPECT_EQ(config->decoder_heads, 16);
  EXPECT_EQ(Read(R"({"task_specific_params":{"summarization":{"prefix":"sum up: "}}})")->summary_prefix, "sum up: ");
}

TEST_F(BartConfigTest, ItsEncoderIsAnEncoderByOtherNames) {
  const EncoderConfig encoder = BartEncoderConfig(*Read(R"({"encoder_layers":6,"encoder_ffn_dim":96,
    "scale_embedding":true,"activation_function":"relu","max_position_embeddings":40})"));
  EXPECT_EQ(encoder.num_hidden_layers, 6);
  EXPECT_EQ(encoder.intermediate_size, 96);
  EXPECT_EQ(encoder.max_tokens(), 40);
  EXPECT_TRUE(encoder.scales_words);
  EXPECT_EQ(encoder.hidden_act, "relu");
  EXPECT_EQ(encoder.family->Layer(3).attention_output, "encoder.layers.3.self_attn.out_proj");
  EXPECT_EQ(BartDecoderLayer(11).source_value, "decoder.layers.11.encoder_attn.v_proj");
}

TEST_F(BartConfigTest, RefusesByName) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {R"({"model_type":"mbart"})", "model_type"},
      {R"({"activation_function":"silu"})", "activation_function"},
      {R"({"is_encoder_decoder":false})", "is_encoder_decoder"},
      {R"({"architectures":["BartForSequenceClassification"]})", "architectures"},
      {R"({"architectures":["BartForCausalLM"]})", "architectures"},
      {R"({"tie_word_embeddings":false})", "tie_word_embeddings"},
      {R"({"normalize_before":true})", "normalize_before"},
      {R"({"add_final_layer_norm":true})", "add_final_layer_norm"},
      {R"({"normalize_embedding":false})", "normalize_embedding"},
      {R"({"static_position_embeddings":true})", "static_position_embeddings"},
      {R"({"encoder_layers":6,"num_hidden_layers":12})", "num_hidden_layers"},
      {R"({"quantization_config":{"bits":4}})", "quantization_config"}};
  for (const auto& [json, field] : cases) ExpectError(json, Reason::kUnsupported, field);
}

TEST_F(BartConfigTest, RefusesWrongValues) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {R"({"d_model":0})", "d_model"},
      {R"({"encoder_layers":"six"})", "encoder_layers"},
      {R"({"encoder_attention_heads":15})", "encoder_attention_heads"},
      {R"({"decoder_attention_heads":7})", "decoder_attention_heads"},
      {R"({"max_position_embeddings":2})", "max_position_embeddings"},
      {R"({"decoder_start_token_id":50265})", "decoder_start_token_id"},
      {R"({"scale_embedding":"no"})", "scale_embedding"}};
  for (const auto& [json, field] : cases) ExpectError(json, Reason::kBaseInvalid, field);
}

TEST_F(BartConfigTest, TheFamilyDecidesAndTakesItsFiles) {
  folder_.Write("config.json", kLargeCnn);
  const auto config = ReadBaseConfig(folder_.path());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(std::holds_alternative<BartConfig>(*config));
  for (const char* name : {"model.safetensors", "vocab.json", "merges.txt", "generation_config.json", "modules.json"}) {
    folder_.Write(name, "");
  }
  const auto files = BaseFiles(folder_.path());
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> names;
  for (const auto& [name, path] : *files) names.push_back(name);
  EXPECT_THAT(names,
              ElementsAre("config.json", "model.safetensors", "vocab.json", "merges.txt", "generation_config.json"));
}

}  // namespace
}  // namespace tenon::formats
