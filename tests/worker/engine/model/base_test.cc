#include "worker/engine/base.h"

#include <gtest/gtest.h>

#include <fstream>

#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "nlohmann/json.hpp"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tiny_base.h"
#include "tests/worker/engine/tiny_t5.h"
#include "worker/engine/generate/decoder.h"
#include "worker/engine/infer.h"
#include "worker/engine/model/encoder.h"

namespace tenon::engine {
namespace {

using test::TempFolder;
using testing::TinyBase;
using testing::WriteTinyBase;

nlohmann::json ReadConfig(const std::filesystem::path& folder) {
  std::ifstream in(folder / "config.json");
  return nlohmann::json::parse(in);
}

void ChangeConfig(const std::filesystem::path& folder, const std::string& key, const nlohmann::json& value) {
  nlohmann::json config = ReadConfig(folder);
  config[key] = value;
  std::ofstream(folder / "config.json") << config.dump();
}

TEST(Base, LoadsAndTellsOfItself) {
  const TempFolder folder;
  WriteTinyBase(folder / "base");
  const auto base = Base::Load(folder / "base", {.digest = "abc"});
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_EQ((*base)->digest(), "abc");
  EXPECT_EQ((*base)->config().hidden_size, 32);
  EXPECT_EQ((*base)->default_max_tokens(), 64);
  EXPECT_EQ((*base)->precision(), Precision::kFp32);
  EXPECT_EQ((*base)->tokenizer().Encode("the book", 64).ids.size(), 4u);
}

TEST(Base, ASecondPrecisionIsLoadedOnceAndCounted) {
  const TempFolder folder;
  WriteTinyBase(folder / "base");
  const auto base = Base::Load(folder / "base", {});
  ASSERT_TRUE(base.ok()) << base.status();
  const int64_t before = (*base)->ResidentBytes();
  const auto first = (*base)->encoder(Precision::kBf16);
  ASSERT_TRUE(first.ok());
  const int64_t after = (*base)->ResidentBytes();
  EXPECT_GT(after, before);
  EXPECT_LE(after, 2 * before);
  EXPECT_EQ(*(*base)->encoder(Precision::kBf16), *first);
  EXPECT_EQ((*base)->ResidentBytes(), after);
}

TEST(Base, LinearLayersAreThoseALoraMayTarget) {
  const TempFolder folder;
  WriteTinyBase(folder / "base", {.labels = {"a", "b"}});
  const auto base = Base::Load(folder / "base", {});
  ASSERT_TRUE(base.ok()) << base.status();
  const auto encoder = *(*base)->encoder(Precision::kFp32);
  EXPECT_EQ(encoder->linear_layers().size(), 2u * 6 + 1);
  EXPECT_EQ(encoder->linear_layers().at("encoder.layer.1.intermediate.dense"), (std::pair<int64_t, int64_t>{64, 32}));
  EXPECT_EQ(encoder->linear_layers().count("classifier"), 0u);
  EXPECT_TRUE(encoder->has_classifier());
}

TEST(Base, RefusesAVocabularyLargerThanTheEmbeddings) {
  const TempFolder folder;
  WriteTinyBase(folder / "base");
  std::ofstream((folder / "base") / "vocab.txt", std::ios::app) << "onemoreword\n";
  EXPECT_EQ(GetReason(Base::Load(folder / "base", {}).status()), Reason::kBaseInvalid);
}

TEST(Base, RefusesACutFile) {
  const TempFolder folder;
  WriteTinyBase(folder / "base");
  const auto file = (folder / "base") / "model.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 7);
  EXPECT_FALSE(Base::Load(folder / "base", {}).ok());
}

TEST(Base, OneThatGenerates) {
  const TempFolder folder;
  testing::WriteTinyT5(folder / "base");
  ChangeConfig(folder / "base", "task_specific_params", {{"summarization", {{"prefix", "sum up: "}}}});
  const auto loaded = Base::Load(folder / "base", {.digest = "abc"});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Base& base = **loaded;
  EXPECT_TRUE(base.generates());
  EXPECT_EQ(base.summary_prefix(), "sum up: ");
  EXPECT_EQ(base.generation_limits().vocab_size, 64);
  EXPECT_EQ(base.generation_limits().prefix_tokens, 1);
  EXPECT_EQ(base.generation_defaults().decoder_start_token_id, 0);
  EXPECT_EQ(base.generation_defaults().eos_token_ids, std::vector<int32_t>{1});
  EXPECT_TRUE(base.labels().empty());
  EXPECT_EQ(base.default_max_tokens(), 512);
  EXPECT_GT(base.ResidentBytes(), 0);
  const std::vector<int32_t> ids = base.tokenizer().Encode("ab", 64).ids;
  EXPECT_EQ(ids.back(), 1);
  EXPECT_EQ(base.generative_tokenizer().Decode(ids), "ab");
  EXPECT_EQ(GetReason(base.encoder(Precision::kFp32).status()), Reason::kUnsupported);
  EXPECT_TRUE(WarmUp(base).ok());
  const auto decoder = base.NewDecoder();
  ASSERT_TRUE(decoder.ok()) << decoder.status();
  EXPECT_EQ((*decoder)->vocab_size(), 64);
}

TEST(Base, OneThatOnlyEncodesWritesNothing) {
  const TempFolder folder;
  WriteTinyBase(folder / "base");
  const auto base = Base::Load(folder / "base", {});
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_FALSE((*base)->generates());
  EXPECT_EQ(GetReason((*base)->NewDecoder().status()), Reason::kUnsupported);
}

TEST(Base, AVocabularyLargerThanTheModelIsRefused) {
  const TempFolder folder;
  testing::TinyT5 small;
  small.vocab = 20;
  testing::WriteTinyT5(folder / "base", small);
  const absl::Status status = Base::Load(folder / "base", {}).status();
  EXPECT_EQ(GetReason(status), Reason::kBaseInvalid);
  EXPECT_EQ(GetField(status), "vocab_size");
}

}  // namespace
}  // namespace tenon::engine
