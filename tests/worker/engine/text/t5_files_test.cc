// What of spiece.model, tokenizer.json and tokenizer_config.json is read, and what is refused.
#include "tests/worker/engine/text/t5_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"
#include "worker/engine/text/t5_tokenizer.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;
using test::TinyPiece;

constexpr int64_t kRoom = 512;
const char* const kTexts[] = {"ab abc. <extra_id_0>", "\xEF\xBD\x81 e\xCC\x81 </s>b", "\xE4\xB8\xAD<unk>"};

absl::StatusOr<std::unique_ptr<const T5Tokenizer>> FromJson(const std::string& json, const std::string& config = "") {
  auto spec = ParseT5TokenizerJson(json, config);
  if (!spec.ok()) return spec.status();
  return T5Tokenizer::Create(*std::move(spec));
}

absl::StatusOr<std::unique_ptr<const T5Tokenizer>> FromSpiece(const std::string& spiece,
                                                              const std::string& config = "") {
  auto spec = ParseT5Spiece(spiece, config);
  if (!spec.ok()) return spec.status();
  return T5Tokenizer::Create(*std::move(spec));
}

void ExpectRefused(const absl::Status& status, Reason reason, const std::string& words) {
  EXPECT_EQ(GetReason(status), reason) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

// TinyT5Json() with a change.
std::string Changed(const std::function<void(Json&)>& change) {
  Json json = Json::parse(test::TinyT5Json());
  change(json);
  return json.dump();
}

TEST(T5Files, BothFormsGiveTheSame) {
  const auto json = FromJson(test::TinyT5Json(), R"({"extra_ids":2})");
  const auto spiece = FromSpiece(test::TinySpiece(), R"({"extra_ids":2})");
  ASSERT_TRUE(json.ok()) << json.status();
  ASSERT_TRUE(spiece.ok()) << spiece.status();
  EXPECT_EQ((*json)->vocab_size(), 15);
  EXPECT_EQ((*spiece)->vocab_size(), 15);
  for (const char* text : kTexts) EXPECT_EQ((*json)->Encode(text, kRoom).ids, (*spiece)->Encode(text, kRoom).ids);
}

TEST(T5Files, AHundredSentinelsFollowThePieces) {
  const auto tokenizer = FromSpiece(test::TinySpiece());
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ((*tokenizer)->vocab_size(), 113);
  EXPECT_THAT((*tokenizer)->Encode("<extra_id_0><extra_id_99>", kRoom).ids, ElementsAre(112, 13, 1));
}

TEST(T5Files, LoadsAFolder) {
  const test::TempFolder folder;
  ExpectRefused(LoadGenerativeTokenizer(folder.path()).status(), Reason::kBaseInvalid, "spiece.model");
  folder.Write("spiece.model", test::TinySpiece());
  const auto spiece = LoadGenerativeTokenizer(folder.path());
  ASSERT_TRUE(spiece.ok()) << spiece.status();
  EXPECT_EQ((*spiece)->vocab_size(), 113);
  folder.Write("tokenizer_config.json", R"({"extra_ids":0,"eos_token":"</s>"})");
  folder.Write("tokenizer.json", test::TinyT5Json());
  const auto json = LoadGenerativeTokenizer(folder.path());
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ((*json)->vocab_size(), 15) << "tokenizer.json comes first, and has its own sentinels";
  EXPECT_THAT((*json)->Encode("ab <extra_id_0>", kRoom).ids, ElementsAre(5, 14, 1));
  folder.Write("tokenizer.json", Changed([](Json& json) { json["model"]["vocab"][5][0] = ""; }));
  ExpectRefused(LoadGenerativeTokenizer(folder.path()).status(), Reason::kBaseInvalid, "tokenizer.json: piece 5");
}

TEST(T5Files, OlderFormsOfTokenizerJson) {
  const auto old = FromJson(
      Changed([](Json& json) {
        const Json map = json["normalizer"];
        json["normalizer"] = {{"type", "Sequence"},
                              {"normalizers",
                               {map,
                                {{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}},
                                {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", "\u2581"}}}}};
        json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"add_prefix_space", true}};
        json["model"].erase("type");
        json.erase("post_processor");
      }),
      R"({"extra_ids":0})");
  ASSERT_TRUE(old.ok()) << old.status();
  const auto now = FromJson(test::TinyT5Json(), R"({"extra_ids":0})");
  for (const char* text : kTexts) EXPECT_EQ((*old)->Encode(text, kRoom).ids, (*now)->Encode(text, kRoom).ids);
  const auto plain = FromJson(Changed([](Json& json) { json["normalizer"] = nullptr; }), R"({"extra_ids":0})");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_THAT((*plain)->Encode("\xEF\xBD\x81", kRoom).ids, ElementsAre(3, 2, 1)) << "no map, no replacement";
}

TEST(T5Files, WhatTokenizerJsonMayNotSay) {
  struct Case {
    std::function<void(Json&)> change;
    Reason reason;
    const char* words;
  };
  const Case cases[] = {
      {[](Json& j) { j["model"]["type"] = "BPE"; }, Reason::kUnsupported, "\"BPE\""},
      {[](Json& j) { j["model"] = 3; }, Reason::kBaseInvalid, "model must be an object"},
      {[](Json& j) { j["model"]["unk_id"] = 0; }, Reason::kUnsupported, "unk_id"},
      {[](Json& j) { j["model"]["byte_fallback"] = true; }, Reason::kUnsupported, "byte_fallback"},
      {[](Json& j) { j["model"]["vocab"] = Json::object(); }, Reason::kBaseInvalid, "model.vocab"},
      {[](Json& j) { j["model"]["vocab"] = Json::array(); }, Reason::kBaseInvalid, "model.vocab"},
      {[](Json& j) {
         j["model"]["vocab"][3] = {"x", "y"};
       },
       Reason::kBaseInvalid, "[\"x\",\"y\"]"},
      {[](Json& j) {
         j["normalizer"] = {{"type", "Lowercase"}};
       },
       Reason::kUnsupported, "normalizer"},
      {[](Json& j) {
         j["normalizer"] = {{"type", "Sequence"}};
       },
       Reason::kBaseInvalid, "normalizer.normalizers"},
      {[](Json& j) { j["normalizer"]["precompiled_charsmap"] = "?"; }, Reason::kBaseInvalid, "base64"},
      {[](Json& j) { j["normalizer"]["precompiled_charsmap"] = "AAAA"; }, Reason::kBaseInvalid, "cut off"},
      {[](Json& j) {
         j["pre_tokenizer"] = {{"type", "ByteLevel"}};
       },
       Reason::kUnsupported, "pre_tokenizer"},
      {[](Json& j) { j["pre_tokenizer"]["pretokenizers"][1]["prepend_scheme"] = "first"; }, Reason::kUnsupported,
       "pre_tokenizer"},
      {[](Json& j) {
         j["decoder"] = {{"type", "WordPiece"}};
       },
       Reason::kUnsupported, "decoder"},
      {[](Json& j) {
         j["post_processor"] = {{"type", "RobertaProcessing"}};
       },
       Reason::kUnsupported, "post_processor"},
      {[](Json& j) { j["added_tokens"] = 1; }, Reason::kBaseInvalid, "added_tokens"},
      {[](Json& j) { j["added_tokens"][0] = 1; }, Reason::kBaseInvalid, "added_tokens"},
      {[](Json& j) { j["added_tokens"][0].erase("content"); }, Reason::kBaseInvalid, "content"},
      {[](Json& j) { j["added_tokens"][0]["id"] = -1; }, Reason::kBaseInvalid, "id"},
  };
  for (const Case& one : cases) {
    const absl::Status status = FromJson(Changed(one.change)).status();
    ExpectRefused(status, one.reason, one.words);
    EXPECT_THAT(std::string(status.message()), HasSubstr("tokenizer.json"));
  }
  ExpectRefused(FromJson("[]").status(), Reason::kBaseInvalid, "tokenizer.json: must be an object");
  ExpectRefused(FromJson("{").status(), Reason::kBaseInvalid, "tokenizer.json");
}

TEST(T5Files, WhatSpieceModelMayNotSay) {
  const auto refuse = [](const std::string& spiece, Reason reason, const std::string& words) {
    ExpectRefused(FromSpiece(spiece).status(), reason, words);
    ExpectRefused(FromSpiece(spiece).status(), reason, "spiece.model");
  };
  refuse("", Reason::kBaseInvalid, "");
  refuse("no model", Reason::kBaseInvalid, "");
  const std::string good = test::TinySpiece();
  for (size_t size = 0; size < good.size(); ++size) {
    ExpectRefused(FromSpiece(good.substr(0, size)).status(), Reason::kBaseInvalid, "spiece.model");
  }
  auto pieces = test::TinyPieces();
  pieces[5].text = pieces[4].text;
  refuse(test::TinySpiece(pieces), Reason::kBaseInvalid, "already defined");
  pieces[5].text = "";
  refuse(test::TinySpiece(pieces), Reason::kBaseInvalid, "empty");
  pieces = test::TinyPieces();
  std::swap(pieces[2], pieces[3]);
  refuse(test::TinySpiece(pieces), Reason::kUnsupported, "unknown");
  pieces.erase(pieces.begin() + 3);
  refuse(test::TinySpiece(pieces), Reason::kBaseInvalid, "unk");
  refuse(test::TinySpiece(test::TinyPieces(), "abc"), Reason::kBaseInvalid, "precompiled_charsmap");
  // trainer_spec comes again, and says BPE.
  refuse(test::TinySpiece() + test::ProtoField(2, test::ProtoField(3, 2)), Reason::kUnsupported, "Unigram");
}

TEST(T5Files, UserDefinedPiecesAreAddedTokens) {
  auto pieces = test::TinyPieces();
  pieces.push_back({"<br>", 0, test::kUserDefined});
  const auto tokenizer = FromSpiece(test::TinySpiece(pieces));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT((*tokenizer)->Encode("ab<br>b", kRoom).ids, ElementsAre(5, 13, 3, 7, 1));
}

TEST(T5Files, TestsInTheModelAreNotRun) {
  // self_test_data: a text and what it should give. SentencePiece would run it, through a map that is not checked.
  const std::string sample = test::ProtoField(1, "ab") + test::ProtoField(2, "something else");
  EXPECT_TRUE(FromSpiece(test::TinySpiece() + test::ProtoField(4, test::ProtoField(1, sample))).ok());
}

TEST(T5Files, WhatTheConfigMayNotSay) {
  const auto refuse = [](const std::string& config, Reason reason, const std::string& words) {
    ExpectRefused(FromSpiece(test::TinySpiece(), config).status(), reason, words);
    ExpectRefused(FromJson(test::TinyT5Json(), config).status(), reason, "tokenizer_config.json");
  };
  refuse("{", Reason::kBaseInvalid, "");
  refuse("[]", Reason::kBaseInvalid, "must be an object");
  refuse(R"({"eos_token":3})", Reason::kBaseInvalid, "eos_token");
  refuse(R"({"pad_token":{"text":"x"}})", Reason::kBaseInvalid, "pad_token");
  refuse(R"({"extra_ids":-1})", Reason::kBaseInvalid, "extra_ids");
  refuse(R"({"additional_special_tokens":"x"})", Reason::kBaseInvalid, "additional_special_tokens");
  refuse(R"({"additional_special_tokens":["x",1]})", Reason::kBaseInvalid, "additional_special_tokens");
  refuse(R"({"added_tokens_decoder":[]})", Reason::kBaseInvalid, "added_tokens_decoder");
  refuse(R"({"clean_up_tokenization_spaces":"yes"})", Reason::kBaseInvalid, "clean_up_tokenization_spaces");
  refuse(R"({"truncation_side":"left"})", Reason::kUnsupported, "truncation_side");
  refuse(R"({"split_special_tokens":true})", Reason::kUnsupported, "split_special_tokens");
}

TEST(T5Files, ExtraTokensOfTheConfig) {
  const auto ids = [](const std::string& config) {
    const auto tokenizer = FromJson(test::TinyT5Json(), config);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return tokenizer.ok() ? (*tokenizer)->Encode("<x><y>", kRoom).ids : std::vector<int32_t>();
  };
  EXPECT_THAT(ids(R"({"additional_special_tokens":["<y>","<x>"]})"), ElementsAre(16, 15, 1));
  EXPECT_THAT(ids(R"({"extra_special_tokens":["<x>"],"additional_special_tokens":["<y>"]})"),
              ElementsAre(15, 3, 12, 2, 1));
  EXPECT_THAT(ids(R"({"sep_token":"<y>","my_own_token":"<x>","extra_ids":0})"), ElementsAre(16, 15, 1));
  EXPECT_THAT(ids(R"({"extra_special_tokens":{"a":"<x>"},"pad_token":"<y>","extra_ids":0})"), ElementsAre(16, 15, 1));
}

}  // namespace
}  // namespace tenon::engine
