#include "common/formats/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/families/families.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kMiniLm[] =
    R"({"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 384, "num_attention_heads": 12,
  "num_hidden_layers": 6, "intermediate_size": 1536, "vocab_size": 30522, "max_position_embeddings": 512, "hidden_act": "gelu",
  "layer_norm_eps": 1e-12, "type_vocab_size": 2, "classifier_dropout": null, "use_cache": true})";

class EncoderConfigTest : public ::testing::Test {
 protected:
  absl::StatusOr<EncoderConfig> Read(const std::string& json) {
    folder_.Write("config.json", json);
    return ReadEncoderConfig(folder_.path());
  }
  void ExpectError(const std::string& json, Reason reason, const std::string& field, const std::string& message) {
    const auto config = Read(json);
    EXPECT_EQ(GetReason(config.status()), reason) << json << config.status();
    EXPECT_EQ(GetField(config.status()), field);
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(message));
  }
  test::TempFolder folder_;
};

TEST_F(EncoderConfigTest, ReadsMiniLm) {
  const auto config = Read(kMiniLm);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hidden_size, 384);
  EXPECT_EQ(config->num_hidden_layers, 6);
  EXPECT_EQ(config->intermediate_size, 1536);
  EXPECT_EQ(config->layer_norm_eps, 1e-12);
  EXPECT_EQ(config->classifier_dropout, -1);
  EXPECT_THAT(config->architectures, ElementsAre("BertModel"));
  EXPECT_TRUE(config->labels.empty());
  EXPECT_EQ(config->sentence.pooling, Pooling::kMean);
  EXPECT_FALSE(config->sentence.normalize);
  EXPECT_EQ(config->sentence.max_seq_length, 0);
}

TEST_F(EncoderConfigTest, MissingKeysAreBertsOwn) {
  const auto config = Read("{}");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hidden_size, 768);
  EXPECT_EQ(config->num_attention_heads, 12);
  EXPECT_EQ(config->hidden_act, "gelu");
}

TEST_F(EncoderConfigTest, ReadsADistilBertByItsOwnKeys) {
  const auto config = Read(R"({"model_type":"distilbert","dim":64,"n_layers":2,"n_heads":4,"hidden_dim":128,
    "dropout":0.2,"attention_dropout":0.3,"seq_classif_dropout":0.4,"activation":"relu","max_position_embeddings":128})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->family, FindFamily("distilbert"));
  EXPECT_EQ(config->hidden_size, 64);
  EXPECT_EQ(config->num_hidden_layers, 2);
  EXPECT_EQ(config->num_attention_heads, 4);
  EXPECT_EQ(config->intermediate_size, 128);
  EXPECT_EQ(config->hidden_dropout_prob, 0.2);
  EXPECT_EQ(config->attention_probs_dropout_prob, 0.3);
  EXPECT_EQ(config->classifier_dropout, 0.4);
  EXPECT_EQ(config->hidden_act, "relu");
  EXPECT_EQ(config->max_tokens(), 128);
  const auto missing = Read(R"({"model_type":"distilbert"})");
  ASSERT_TRUE(missing.ok());
  EXPECT_EQ(missing->num_hidden_layers, 6);
  EXPECT_EQ(missing->classifier_dropout, 0.2);
  ExpectError(R"({"model_type":"distilbert","sinusoidal_pos_embds":true})", Reason::kUnsupported,
              "sinusoidal_pos_embds", "is true");
  ExpectError(R"({"model_type":"distilbert","activation":"swish"})", Reason::kUnsupported, "activation", "swish");
  ExpectError(R"({"model_type":"distilbert","dim":10,"n_heads":3})", Reason::kBaseInvalid, "dim", "do not divide");
}

TEST_F(EncoderConfigTest, ADprIsABertOfTwoKinds) {
  auto config =
      Read(R"({"model_type":"dpr","architectures":["DPRContextEncoder"],"hidden_size":64,"num_attention_heads":2})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->plain_prefix, "ctx_encoder.bert_model.");
  EXPECT_EQ(config->sentence.pooling, Pooling::kCls) << "its vector is the state of [CLS]";
  EXPECT_FALSE(config->sentence.normalize);
  EXPECT_EQ(config->vector_size(), 64);
  EXPECT_TRUE(config->labels.empty());
  config = Read(R"({"model_type":"dpr","architectures":["DPRQuestionEncoder"],"projection_dim":16})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->plain_prefix, "question_encoder.bert_model.");
  EXPECT_EQ(config->projection, "question_encoder.encode_proj");
  EXPECT_EQ(config->vector_size(), 16);
  ExpectError(R"({"model_type":"dpr","architectures":["DPRReader"]})", Reason::kUnsupported, "architectures",
              "DPRQuestionEncoder");
  ExpectError(R"({"model_type":"dpr"})", Reason::kUnsupported, "architectures", "DPRContextEncoder");
  ExpectError(R"({"model_type":"dpr","architectures":["DPRContextEncoder"],"projection_dim":-1})", Reason::kBaseInvalid,
              "projection_dim", "-1");
}

TEST_F(EncoderConfigTest, ARobertasPositionsCountFromBehindPadding) {
  auto config = Read(R"({"model_type":"roberta","max_position_embeddings":514,"type_vocab_size":1,
    "architectures":["RobertaForSequenceClassification"],"id2label":{"0":"bad","1":"good"}})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->vocab_size, 50265);
  EXPECT_EQ(config->pad_token_id, 1);
  EXPECT_EQ(config->position_offset, 2);
  EXPECT_EQ(config->max_tokens(), 512);
  EXPECT_THAT(config->labels, ElementsAre("bad", "good"));
  EXPECT_EQ(Read(R"({"model_type":"roberta","pad_token_id":0})")->max_tokens(), 511);
  ExpectError(R"({"model_type":"roberta","pad_token_id":510})", Reason::kBaseInvalid, "max_position_embeddings",
              "positions count from pad_token_id + 1");
  folder_.Write("sentence_bert_config.json", R"({"max_seq_length":512})");
  EXPECT_TRUE(Read(R"({"model_type":"roberta","max_position_embeddings":514})").ok());
  ExpectError(R"({"model_type":"roberta","max_position_embeddings":512})", Reason::kBaseInvalid, "max_seq_length",
              "more than the 510 positions");
}

TEST_F(EncoderConfigTest, RefusesByName) {
  ExpectError(R"({"model_type":"gpt2"})", Reason::kUnsupported, "model_type", "\"gpt2\" is not supported");
  ExpectError(R"({"position_embedding_type":"relative_key"})", Reason::kUnsupported, "position_embedding_type",
              "relative_key");
  ExpectError(R"({"is_decoder":true})", Reason::kUnsupported, "is_decoder", "is true");
  ExpectError(R"({"add_cross_attention":true})", Reason::kUnsupported, "add_cross_attention", "is true");
  ExpectError(R"({"quantization_config":{"bits":4}})", Reason::kUnsupported, "quantization_config", "bits");
  ExpectError(R"({"pruned_heads":{"0":[1]}})", Reason::kUnsupported, "pruned_heads", "");
  ExpectError(R"({"hidden_act":"swish"})", Reason::kUnsupported, "hidden_act", "swish");
}

TEST_F(EncoderConfigTest, RefusesWrongValues) {
  ExpectError(R"({"hidden_size":0})", Reason::kBaseInvalid, "hidden_size", "is 0");
  ExpectError(R"({"hidden_size":-384})", Reason::kBaseInvalid, "hidden_size", "is -384");
  ExpectError(R"({"hidden_size":"384"})", Reason::kBaseInvalid, "hidden_size", "must be an integer");
  ExpectError(R"({"hidden_size":18446744073709551615})", Reason::kBaseInvalid, "hidden_size", "must be an integer");
  ExpectError(R"({"hidden_size":10,"num_attention_heads":3})", Reason::kBaseInvalid, "hidden_size",
              "3 attention heads do not divide");
  ExpectError(R"({"num_hidden_layers":1e3})", Reason::kBaseInvalid, "num_hidden_layers", "must be an integer");
  ExpectError(R"({"layer_norm_eps":"x"})", Reason::kBaseInvalid, "layer_norm_eps", "must be a number");
  ExpectError(R"({"hidden_dropout_prob":1.5})", Reason::kBaseInvalid, "hidden_dropout_prob", "from 0 to 1");
  ExpectError(R"({"pad_token_id":30522})", Reason::kBaseInvalid, "pad_token_id", "30522");
  ExpectError(R"({"a":1,"a":2})", Reason::kBaseInvalid, "config.json", "\"a\" occurs twice");
  ExpectError("[]", Reason::kBaseInvalid, "config.json", "must be an object");
  ExpectError(R"({"a":)", Reason::kBaseInvalid, "config.json", "not valid JSON");
  ExpectError(std::string(100, '['), Reason::kBaseInvalid, "config.json", "more than 64 levels");
}

TEST_F(EncoderConfigTest, ReadsTheHeadsLabels) {
  const std::string head = R"({"architectures":["BertForSequenceClassification"],"id2label":)";
  auto config = Read(head + R"({"0":"neg","1":"pos","2":"mixed"}})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->labels, ElementsAre("neg", "pos", "mixed"));
  EXPECT_FALSE(config->multi_label);
  config = Read(head + R"(null,"problem_type":"multi_label_classification","num_labels":3})");
  ASSERT_TRUE(config.ok());
  EXPECT_THAT(config->labels, ElementsAre("LABEL_0", "LABEL_1", "LABEL_2"));
  EXPECT_TRUE(config->multi_label);
  config = Read(head + R"({"0":"score"}})");
  EXPECT_THAT(config->labels, ElementsAre("score"));
  EXPECT_TRUE(config->regression) << "one output is one where nothing else is said";
  config = Read(head + R"({"0":"likes","1":"shares"},"problem_type":"regression"})");
  EXPECT_TRUE(config->regression && !config->multi_label && config->labels.size() == 2);
  config = Read(head + R"({"0":"always"},"problem_type":"single_label_classification"})");
  EXPECT_TRUE(config->labels.empty() && !config->regression);
  EXPECT_TRUE(Read(R"({"architectures":["BertModel"],"id2label":{"0":"a","1":"b"}})")->labels.empty());
  ExpectError(head + R"({"0":"a","2":"b"}})", Reason::kBaseInvalid, "id2label", "no label for 1");
  ExpectError(head + R"({"0":"a","1":"a"}})", Reason::kBaseInvalid, "id2label", "\"a\" twice");
}

constexpr char kModules[] = R"([{"type":"sentence_transformers.models.Transformer","path":""},
  {"type":"sentence_transformers.models.Pooling","path":"1_Pooling"},{"type":"sentence_transformers.models.Normalize","path":"2_Normalize"}])";

TEST_F(EncoderConfigTest, ReadsSentenceFilesAsPublishedAndFlat) {
  folder_.Write("modules.json", kModules);
  folder_.Write("sentence_bert_config.json", R"({"max_seq_length":256,"do_lower_case":false})");
  const std::string pooling =
      R"({"word_embedding_dimension":384,"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false})";
  for (const char* name : {"1_Pooling_config.json", "1_Pooling/config.json"}) {
    folder_.Write(name, pooling);
    const auto config = Read("{}");
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->sentence.pooling, Pooling::kCls);
    EXPECT_TRUE(config->sentence.normalize);
    EXPECT_EQ(config->sentence.max_seq_length, 256);
    std::filesystem::remove(folder_.path() / "1_Pooling_config.json");
  }
  folder_.Write("1_Pooling/config.json", R"({"embedding_dimension":384,"pooling_mode":"max"})");
  EXPECT_EQ(Read("{}")->sentence.pooling, Pooling::kMax);
}

TEST_F(EncoderConfigTest, RefusesOtherSentenceModules) {
  folder_.Write("modules.json", R"([{"type":"sentence_transformers.models.Dense","path":"2_Dense"}])");
  ExpectError("{}", Reason::kUnsupported, "Dense", "module Dense is not supported");
  folder_.Write("modules.json", R"([{"type":"x.Pooling","path":"../../etc"}])");
  ExpectError("{}", Reason::kBaseInvalid, "modules.json", "must be a folder's name");
  folder_.Write("modules.json", kModules);
  ExpectError("{}", Reason::kBaseInvalid, "modules.json", "1_Pooling/config.json: no such file");
  folder_.Write("1_Pooling/config.json", R"({"pooling_mode_weightedmean_tokens":true})");
  ExpectError("{}", Reason::kUnsupported, "pooling_mode_weightedmean_tokens", "is not supported");
  folder_.Write("1_Pooling/config.json", R"({"pooling_mode_cls_token":true,"pooling_mode_max_tokens":true})");
  ExpectError("{}", Reason::kUnsupported, "pooling_mode", "2 pooling modes");
  folder_.Write("1_Pooling/config.json", R"({"pooling_mode":"mean"})");
  folder_.Write("sentence_bert_config.json", R"({"max_seq_length":513})");
  ExpectError("{}", Reason::kBaseInvalid, "max_seq_length", "more than the 512 positions");
}

TEST(BaseFiles, NamesWhatABaseNeeds) {
  const test::TempFolder folder;
  const auto missing = [&] { return std::string(BaseFiles(folder.path()).status().message()); };
  EXPECT_THAT(missing(), HasSubstr("config.json: no such file"));
  folder.Write("config.json", "{}");
  EXPECT_THAT(missing(), HasSubstr("model.safetensors: no such file"));
  folder.Write("pytorch_model.bin", "");
  EXPECT_THAT(missing(), HasSubstr("is a pickle"));
  folder.Write("model.safetensors", "");
  EXPECT_THAT(missing(), HasSubstr("tokenizer.json: no such file"));
  folder.Write("tokenizer.json", "");
  folder.Write("vocab.txt", "");
  folder.Write("README.md", "");
  folder.Write("modules.json", kModules);
  folder.Write("1_Pooling/config.json", "{}");
  const auto files = BaseFiles(folder.path());
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> names;
  for (const auto& [name, path] : *files) {
    names.push_back(name);
    EXPECT_TRUE(std::filesystem::is_regular_file(path));
  }
  EXPECT_THAT(names, ElementsAre("config.json", "model.safetensors", "tokenizer.json", "modules.json",
                                 "1_Pooling_config.json"));
}

TEST(BaseFiles, FlatFolderGivesTheSameNames) {
  const test::TempFolder folder;
  for (const char* name : {"config.json", "model.safetensors", "vocab.txt", "1_Pooling_config.json"})
    folder.Write(name, "");
  folder.Write("modules.json", kModules);
  const auto files = BaseFiles(folder.path());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->back().first, "1_Pooling_config.json");
  EXPECT_EQ((*files)[2].first, "vocab.txt");
}

TEST(BaseFiles, BytePairsAreTwoFiles) {
  const test::TempFolder folder;
  for (const char* name : {"config.json", "model.safetensors", "vocab.json"}) folder.Write(name, "");
  EXPECT_THAT(std::string(BaseFiles(folder.path()).status().message()), HasSubstr("merges.txt: no such file"));
  folder.Write("merges.txt", "");
  folder.Write("added_tokens.json", "");
  const auto files = BaseFiles(folder.path());
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> names;
  for (const auto& [name, path] : *files) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("config.json", "model.safetensors", "vocab.json", "merges.txt", "added_tokens.json"));
  folder.Write("tokenizer.json", "");
  EXPECT_EQ(BaseFiles(folder.path())->size(), 3u) << "it has all of them";
}

TEST(BaseFiles, ListsShards) {
  const test::TempFolder folder;
  for (const char* name : {"config.json", "tokenizer.json", "b.safetensors"}) folder.Write(name, "");
  const auto index = [&](const char* map) { folder.Write("model.safetensors.index.json", map); };
  index(R"({"weight_map":{"x":"b.safetensors","y":"a.safetensors"}})");
  EXPECT_THAT(std::string(BaseFiles(folder.path()).status().message()), HasSubstr("a.safetensors: no such file"));
  folder.Write("a.safetensors", "");
  EXPECT_EQ(BaseFiles(folder.path())->size(), 5u);
  index(R"({"weight_map":{"x":"../b.safetensors"}})");
  EXPECT_THAT(std::string(BaseFiles(folder.path()).status().message()), HasSubstr("without folders"));
}

}  // namespace
}  // namespace tenon::formats
