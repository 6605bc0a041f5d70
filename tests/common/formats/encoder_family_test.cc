#include "common/formats/encoder_family.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "common/formats/families/families.h"

namespace tenon::formats {
namespace {

using ::testing::HasSubstr;

TEST(EncoderFamilies, EachIsFoundByItsTypeAlone) {
  std::set<std::string> types;
  for (const EncoderFamily& family : EncoderFamilies()) {
    EXPECT_TRUE(types.insert(family.model_type).second) << family.model_type << " twice";
    EXPECT_EQ(FindFamily(family.model_type), &family);
    EXPECT_THAT(SupportedTypes(), HasSubstr(family.model_type));
  }
  EXPECT_EQ(FindFamily("t5"), nullptr);
  EXPECT_EQ(FindFamily(""), nullptr);
  EXPECT_THAT(SupportedTypes(), HasSubstr(" and t5"));
}

// What the engine and the server rely on, whatever the family.
TEST(EncoderFamilies, DescriptionsAreWhole) {
  for (const EncoderFamily& family : EncoderFamilies()) {
    SCOPED_TRACE(family.model_type);
    EXPECT_FALSE(family.plain_class.empty());
    EXPECT_FALSE(family.lora_targets.empty());
    EXPECT_TRUE(family.embeddings.words.starts_with("embeddings.")) << "where a prompt's segment is looked for";
    EXPECT_TRUE(family.layer_prefix.ends_with("."));
    EXPECT_EQ(family.Layer(3).query, family.layer_prefix + "3." + family.layer.query);
    EXPECT_TRUE(family.OwnsTensor(family.Layer(0).output_norm + ".weight"));
    EXPECT_TRUE(family.OwnsTensor(family.embeddings.norm + ".bias"));
    EXPECT_TRUE(family.IsEmbedding(family.embeddings.words + ".weight"));
    EXPECT_FALSE(family.IsEmbedding(family.Layer(0).query + ".weight"));
    EXPECT_FALSE(family.OwnsTensor("classifier.weight"));
    EXPECT_FALSE(family.OwnsTensor("embeddings.position_ids")) << "a count that old files keep";
    const EncoderHead& head = family.head;
    EXPECT_EQ(head.model_class.empty(), HeadModules(family).empty());
    EXPECT_TRUE(!head.dense_in_encoder || head.dense == family.pooler);
    EXPECT_EQ(head.model_class.empty(), family.task_prefix.empty());
    if (!head.model_class.empty()) {
      EXPECT_EQ(HeadModules(family).front().key, kClassifier);
    }
    EXPECT_FALSE(family.in_adapter_hub && head.model_class.empty());
  }
}

TEST(EncoderFamily, BertsHeadStandsOnItsPooler) {
  const EncoderFamily& bert = *FindFamily("bert");
  ASSERT_EQ(HeadModules(bert).size(), 1u);
  EXPECT_EQ(HeadModules(bert)[0].name, "classifier");
  EXPECT_TRUE(bert.InTaskModel("pooler.dense"));
  EXPECT_EQ(bert.Layer(11).attention_output, "encoder.layer.11.attention.output.dense");
  EXPECT_EQ(bert.PrefixOf("bert.pooler.dense.weight"), "bert.");
  EXPECT_EQ(bert.PrefixOf("pooler.dense.weight"), "");
}

TEST(EncoderFamily, DistilBertsHeadIsTwoLayersOfItsOwn) {
  const EncoderFamily& family = *FindFamily("distilbert");
  ASSERT_EQ(HeadModules(family).size(), 2u);
  EXPECT_EQ(HeadModules(family)[1].key, "pre_classifier");
  EXPECT_EQ(family.Layer(5).output_norm, "transformer.layer.5.output_layer_norm");
  EXPECT_FALSE(family.OwnsTensor("pre_classifier.weight"));
  EXPECT_FALSE(family.OwnsTensor("vocab_transform.weight")) << "of another head";
}

TEST(EncoderFamily, ADprHasNoClassifierAndTwoPrefixes) {
  const EncoderFamily& family = *FindFamily("dpr");
  EXPECT_TRUE(HeadModules(family).empty());
  EXPECT_EQ(family.PrefixOf("ctx_encoder.bert_model.embeddings.LayerNorm.bias"), "ctx_encoder.bert_model.");
  EXPECT_EQ(family.PrefixOf("question_encoder.encode_proj.weight"), "");
  EXPECT_FALSE(family.OwnsTensor("pooler.dense.weight")) << "old files have one, which nothing reads";
}

TEST(EncoderFamily, ARobertasClassifierReadsNoPooler) {
  const EncoderFamily& family = *FindFamily("roberta");
  ASSERT_EQ(HeadModules(family).size(), 2u);
  EXPECT_EQ(HeadModules(family)[0].name, "classifier.out_proj");
  EXPECT_EQ(HeadModules(family)[1].key, "classifier.dense");
  EXPECT_TRUE(family.OwnsTensor("pooler.dense.weight"));
  EXPECT_FALSE(family.InTaskModel("pooler.dense"));
  EXPECT_TRUE(family.InTaskModel("encoder.layer.0.output.dense"));
}

TEST(EncoderFamily, FindsWhatStandsBeforeTheEncoder) {
  EncoderConfig config;
  config.family = FindFamily("bert");
  const auto with = [&](const std::string& only) {
    return FindPrefix(config, [&](const std::string& name) { return name == only; });
  };
  EXPECT_EQ(with("bert.embeddings.word_embeddings.weight"), "bert.");
  EXPECT_EQ(with("embeddings.word_embeddings.weight"), "");
  EXPECT_EQ(with("neither"), "");
}

TEST(EncoderFamily, OldNamesOfANormAreTodays) {
  EXPECT_EQ(ModernName("embeddings.LayerNorm.gamma"), "embeddings.LayerNorm.weight");
  EXPECT_EQ(ModernName("embeddings.LayerNorm.beta"), "embeddings.LayerNorm.bias");
  EXPECT_EQ(ModernName("embeddings.LayerNorm.weight"), "embeddings.LayerNorm.weight");
  EXPECT_EQ(ModernName("x.gamma"), "x.gamma");
  EXPECT_EQ(ModernName(""), "");
}

}  // namespace
}  // namespace tenon::formats
