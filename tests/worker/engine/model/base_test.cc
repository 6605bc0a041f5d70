#include "worker/engine/base.h"

#include <gtest/gtest.h>

#include <fstream>

#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "nlohmann/json.hpp"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/tiny_base.h"
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

TEST(Base, NamesATensorThatIsMissing) {
  const TempFolder folder;
  WriteTinyBase(folder / "base");
  ChangeConfig(folder / "base", "num_hidden_layers", 3);
  const auto base = Base::Load(folder / "base", {});
  EXPECT_EQ(GetReason(base.status()), Reason::kBaseInvalid);
  EXPECT_EQ(GetField(base.status()), "encoder.layer.2.attention.self.query.weight");
}

TEST(Base, NamesATensorThatHasNoPlace) {
  const TempFolder folder;
  WriteTinyBase(folder / "base");
  ChangeConfig(folder / "base", "num_hidden_layers", 1);
  const auto base = Base::Load(folder / "base", {});
  EXPECT_EQ(GetReason(base.status()), Reason::kBaseInvalid);
  EXPECT_NE(GetField(base.status()).find("encoder.layer.1."), std::string::npos);
}

TEST(Base, NamesATensorOfTheWrongShape) {
  const TempFolder folder;
  WriteTinyBase(folder / "base");
  ChangeConfig(folder / "base", "intermediate_size", 128);
  const auto base = Base::Load(folder / "base", {});
  EXPECT_EQ(GetReason(base.status()), Reason::kBaseInvalid);
  EXPECT_EQ(GetField(base.status()), "encoder.layer.0.intermediate.dense.weight");
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

}  // namespace
}  // namespace tenon::engine
