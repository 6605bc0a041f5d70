// What of tokenizer.json, vocab.json, merges.txt and the configs beside them is read, and what is refused.
#include "tests/worker/engine/text/byte_level_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/engine/text/t5_files.h"
#include "worker/engine/text/byte_level_tokenizer.h"
#include "worker/engine/text/tokenizer_json_parts.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr int64_t kRoom = 512;
constexpr char kRoberta[] = R"({"tokenizer_class":"RobertaTokenizer"})";
constexpr char kGpt2[] =
    R"({"tokenizer_class":"GPT2TokenizerFast","bos_token":"<s>","eos_token":"</s>","unk_token":"<unk>"})";
constexpr char kByFile[] = R"({"tokenizer_class":"PreTrainedTokenizerFast"})";

using Tokenizer = absl::StatusOr<std::unique_ptr<const ByteLevelTokenizer>>;

Tokenizer Made(absl::StatusOr<ByteLevelSpec> spec) {
  if (!spec.ok()) return spec.status();
  return ByteLevelTokenizer::Create(*std::move(spec));
}

Tokenizer FromJson(const std::string& json, const ByteLevelConfigFiles& config) {
  return Made(ParseByteLevelJson(json, config));
}

Tokenizer FromFiles(const ByteLevelConfigFiles& config) {
  return Made(ParseByteLevelFiles(test::TinyBytesVocab(), test::TinyBytesMerges(), config));
}

void ExpectRefused(const absl::Status& status, Reason reason, const std::string& words) {
  EXPECT_EQ(GetReason(status), reason) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

// TinyBytesJson() with a change.
std::string Changed(const std::function<void(Json&)>& change) {
  Json json = Json::parse(test::TinyBytesJson());
  change(json);
  return json.dump();
}

std::vector<int32_t> Ids(const Tokenizer& tokenizer, const std::string& text) {
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? (*tokenizer)->Encode(text, kRoom).ids : std::vector<int32_t>();
}

TEST(ByteLevelFiles, BothFormsGiveTheSame) {
  const auto json = FromJson(test::TinyBytesJson(), {.tokenizer_config = kRoberta});
  const auto files = FromFiles({.tokenizer_config = kRoberta});
  for (const char* text : {"ab the\xE4\xB8\xAD", " ab<s>", "it's  "}) EXPECT_EQ(Ids(json, text), Ids(files, text));
  EXPECT_THAT(Ids(json, "ab <mask>"), ElementsAre(262, 256, 266, 264));
  EXPECT_THAT(Ids(files, "ab <mask>"), ElementsAre(262, 256, ' ', 266, 264)) << "nothing says that it takes spaces";
  EXPECT_THAT(Ids(FromFiles({.tokenizer_config = kRoberta,
                             .special_tokens_map = R"({"mask_token":{"content":"<mask>","lstrip":true}})"}),
                  "ab <mask>"),
              ElementsAre(262, 256, 266, 264));
}

TEST(ByteLevelFiles, MergesInBothForms) {
  const std::string strings = Changed([](Json& j) {
    for (Json& merge : j["model"]["merges"]) {
      merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    }
  });
  EXPECT_THAT(Ids(FromJson(strings, {.tokenizer_config = kRoberta}), "the"), ElementsAre(262, 259, 264));
}

TEST(ByteLevelFiles, TheClassSaysWhatStandsAround) {
  EXPECT_THAT(Ids(FromFiles({.tokenizer_config = kGpt2}), "the"), ElementsAre(259));
  EXPECT_THAT(Ids(FromJson(test::TinyBytesJson(), {.tokenizer_config = kGpt2}), "the"), ElementsAre(262, 259, 264))
      << "its file's post-processor";
  EXPECT_THAT(
      Ids(FromJson(Changed([](Json& j) { j["post_processor"] = nullptr; }), {.tokenizer_config = kRoberta}), "the"),
      ElementsAre(262, 259, 264));
  const char* const opt =
      R"({"tokenizer_class":"GPT2Tokenizer","bos_token":"</s>","eos_token":"</s>","unk_token":"</s>","add_bos_token":true})";
  EXPECT_THAT(Ids(FromFiles({.tokenizer_config = opt}), "the"), ElementsAre(264, 259));
  EXPECT_THAT((*FromFiles({.tokenizer_config = opt}))->EncodePair("a", "b", kRoom).ids,
              ElementsAre(264, 'a', 264, 'b'));
  const char* const both =
      R"({"tokenizer_class":"GPT2Tokenizer","bos_token":"<s>","eos_token":"</s>","unk_token":null,"add_bos_token":true,
          "add_eos_token":true})";
  EXPECT_THAT(Ids(FromFiles({.tokenizer_config = both}), "the"), ElementsAre(262, 259, 264));
  EXPECT_THAT((*FromFiles({.tokenizer_config = both}))->EncodePair("a", "b", kRoom).ids,
              ElementsAre(262, 'a', 264, 262, 'b', 264));
}

TEST(ByteLevelFiles, TheModelTypeStandsForTheClass) {
  EXPECT_THAT(Ids(FromFiles({.config = R"({"model_type":"bart"})"}), "the"), ElementsAre(262, 259, 264));
  EXPECT_THAT(Ids(FromFiles({.config = R"({"model_type":"gpt2"})"}), "the<|endoftext|>"), ElementsAre(259, 267))
      << "a token that is added for the class";
  EXPECT_THAT(Ids(FromFiles({.config = R"({"model_type":"x","tokenizer_class":"GPT2Tokenizer"})"}), "the"),
              ElementsAre(259));
  ExpectRefused(FromFiles({}).status(), Reason::kUnsupported, "tokenizer_class must be");
  ExpectRefused(FromFiles({.tokenizer_config = R"({"tokenizer_class":"CodeGenTokenizer"})"}).status(),
                Reason::kUnsupported, "CodeGenTokenizer");
}

TEST(ByteLevelFiles, PrefixSpaces) {
  const std::string spaced = Changed([](Json& j) { j["pre_tokenizer"]["add_prefix_space"] = true; });
  EXPECT_THAT(Ids(FromJson(spaced, {.tokenizer_config = kByFile}), "ab"), ElementsAre(262, 257, 264));
  EXPECT_THAT(Ids(FromJson(spaced, {.tokenizer_config = kRoberta}), "ab"), ElementsAre(262, 256, 264))
      << "transformers' own classes go by tokenizer_config.json";
}

TEST(ByteLevelFiles, Templates) {
  const auto with = [](const char* processor, const char* config = kByFile) {
    return FromJson(Changed([&](Json& j) { j["post_processor"] = Json::parse(processor); }),
                    {.tokenizer_config = config});
  };
  const auto made = with(R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"</s>","type_id":0}},
      {"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>"}},
      {"Sequence":{"id":"B","type_id":1}},{"SpecialToken":{"id":"x"}}],"special_tokens":{"</s>":{"id":"</s>","ids":[264],
      "tokens":["</s>"]},"x":{"id":"x","ids":[262,263],"tokens":["<s>","<pad>"]}}})");
  EXPECT_THAT(Ids(made, "the"), ElementsAre(264, 259));
  EXPECT_THAT((*made)->EncodePair("a", "b", kRoom).ids, ElementsAre('a', 264, 'b', 262, 263));
  EXPECT_THAT(Ids(with(R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true})"), "the"),
              ElementsAre(259));
  EXPECT_THAT(Ids(with(R"({"type":"Sequence","processors":[{"type":"ByteLevel"},
      {"type":"RobertaProcessing","cls":["<s>",262],"sep":["</s>",264]}]})"),
                  "the"),
              ElementsAre(262, 259, 264));
  EXPECT_THAT(Ids(with("null"), "the"), ElementsAre(259));
  const auto refuse = [&](const char* processor, Reason reason, const char* words, const char* config = kByFile) {
    ExpectRefused(with(processor, config).status(), reason, words);
  };
  refuse(R"({"type":"BertProcessing"})", Reason::kUnsupported, "BertProcessing");
  refuse("[]", Reason::kBaseInvalid, "post_processor must be an object");
  refuse(R"({"type":"Sequence"})", Reason::kBaseInvalid, "post_processor.processors");
  refuse(R"({"type":"RobertaProcessing","cls":["<s>",262]})", Reason::kBaseInvalid, "post_processor.sep");
  refuse(R"({"type":"RobertaProcessing","cls":["<s>",-1]})", Reason::kBaseInvalid, "post_processor.cls");
  refuse(R"({"type":"TemplateProcessing","single":{}})", Reason::kBaseInvalid, "post_processor.single must be a list");
  refuse(R"({"type":"TemplateProcessing","single":[]})", Reason::kBaseInvalid, "must have each text once");
  refuse(R"({"type":"TemplateProcessing","single":[{}]})", Reason::kBaseInvalid, "neither a text nor a special token");
  refuse(R"({"type":"TemplateProcessing","single":[{"Sequence":{"id":"B"}}]})", Reason::kUnsupported, "once, in order");
  refuse(R"({"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}}]})", Reason::kBaseInvalid,
         "post_processor.pair");
  refuse(R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"y"}}]})", Reason::kBaseInvalid,
         "ids of \"y\"");
  refuse(R"({"type":"RobertaProcessing","cls":["<s>",264],"sep":["</s>",264]})", Reason::kUnsupported,
         "puts its own in its place", kRoberta);
  const char* const unknown = "post_processor has the id 267, which no token has";
  refuse(R"({"type":"RobertaProcessing","cls":["<s>",262],"sep":["x",267]})", Reason::kBaseInvalid, unknown);
  refuse(R"({"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}}],"pair":[{"Sequence":{"id":"A"}},
      {"Sequence":{"id":"B"}},{"SpecialToken":{"id":"x"}}],"special_tokens":{"x":{"ids":[262,267]}}})",
         Reason::kBaseInvalid, unknown);
}

TEST(ByteLevelFiles, TheSeparatorIsWhatStandsBehind) {
  EXPECT_EQ((*FromJson(test::TinyBytesJson(), {.tokenizer_config = kRoberta}))->separator(), "</s>");
  EXPECT_EQ((*FromFiles({.tokenizer_config = kGpt2}))->separator(), "") << "GPT-2's has no such token";
}

TEST(ByteLevelFiles, WhatTokenizerJsonMustNotSay) {
  struct Case {
    std::function<void(Json&)> change;
    Reason reason;
    const char* words;
  };
  const Case cases[] = {
      {[](Json& j) { j.erase("model"); }, Reason::kBaseInvalid, "model must be an object"},
      {[](Json& j) { j["model"]["type"] = "WordPiece"; }, Reason::kUnsupported, "model.type \"WordPiece\""},
      {[](Json& j) { j["model"]["dropout"] = 0.1; }, Reason::kUnsupported, "dropout"},
      {[](Json& j) { j["model"]["byte_fallback"] = true; }, Reason::kUnsupported, "byte_fallback"},
      {[](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, Reason::kUnsupported, "end_of_word_suffix"},
      {[](Json& j) { j["model"]["continuing_subword_prefix"] = "##"; }, Reason::kUnsupported,
       "continuing_subword_prefix"},
      {[](Json& j) { j["model"]["colour"] = 1; }, Reason::kUnsupported, "model.colour"},
      {[](Json& j) { j["model"]["unk_token"] = "nil"; }, Reason::kBaseInvalid, "\"nil\" is not in the vocabulary"},
      {[](Json& j) { j["model"]["unk_token"] = 1; }, Reason::kBaseInvalid, "unk_token"},
      {[](Json& j) { j["model"].erase("vocab"); }, Reason::kBaseInvalid, "model.vocab"},
      {[](Json& j) { j["model"]["vocab"] = Json::array(); }, Reason::kBaseInvalid, "model.vocab"},
      {[](Json& j) { j["model"]["vocab"]["a"] = "x"; }, Reason::kBaseInvalid, "\"x\" as the id of \"a\""},
      {[](Json& j) { j["model"]["vocab"]["a"] = -1; }, Reason::kBaseInvalid, "-1 as the id of \"a\""},
      {[](Json& j) { j["model"]["vocab"]["a"] = 4294967296; }, Reason::kBaseInvalid, "4294967296"},
      {[](Json& j) { j["model"]["vocab"]["a"] = 98; }, Reason::kBaseInvalid, "id 98 twice"},
      {[](Json& j) { j["model"]["vocab"].erase("ab"); }, Reason::kBaseInvalid, "merge 1 needs \"ab\""},
      {[](Json& j) { j["model"].erase("merges"); }, Reason::kBaseInvalid, "model.merges must be a list"},
      {[](Json& j) { j["model"]["merges"][2] = "t h e"; }, Reason::kBaseInvalid, "item 3"},
      {[](Json& j) { j["model"]["merges"][2] = {"t"}; }, Reason::kBaseInvalid, "item 3"},
      {[](Json& j) { j["model"]["merges"][2] = 7; }, Reason::kBaseInvalid, "item 3"},
      {[](Json& j) {
         j["normalizer"] = {{"type", "NFC"}};
       },
       Reason::kUnsupported, "normalizer"},
      {[](Json& j) { j["pre_tokenizer"] = nullptr; }, Reason::kUnsupported, "pre_tokenizer"},
      {[](Json& j) { j["pre_tokenizer"]["type"] = "Metaspace"; }, Reason::kUnsupported, "Metaspace"},
      {[](Json& j) { j["pre_tokenizer"]["use_regex"] = false; }, Reason::kUnsupported, "use_regex"},
      {[](Json& j) { j["pre_tokenizer"]["individual_digits"] = true; }, Reason::kUnsupported, "individual_digits"},
      {[](Json& j) { j["pre_tokenizer"].erase("add_prefix_space"); }, Reason::kBaseInvalid,
       "add_prefix_space is missing"},
      {[](Json& j) {
         j["decoder"] = {{"type", "WordPiece"}};
       },
       Reason::kUnsupported, "decoder"},
      {[](Json& j) { j["decoder"] = nullptr; }, Reason::kUnsupported, "decoder"},
      {[](Json& j) {
         j["truncation"] = {{"direction", "Left"}};
       },
       Reason::kUnsupported, "direction"},
      {[](Json& j) { j["truncation"] = 3; }, Reason::kBaseInvalid, "truncation"},
      {[](Json& j) { j["colour"] = 1; }, Reason::kUnsupported, "colour"},
      {[](Json& j) { j["added_tokens"] = 1; }, Reason::kBaseInvalid, "added_tokens"},
      {[](Json& j) { j["added_tokens"][0]["id"] = -1; }, Reason::kBaseInvalid, "id"},
      {[](Json& j) {
         j["model"]["vocab"]["zz"] = 269;
         j["model"]["vocab"]["zy"] = 268;
         j["added_tokens"].push_back({{"id", 5}, {"content", "new"}});
       },
       Reason::kBaseInvalid, "the vocabulary has holes"},
  };
  for (const Case& c : cases)
    ExpectRefused(FromJson(Changed(c.change), {.tokenizer_config = kByFile}).status(), c.reason, c.words);
  ExpectRefused(
      FromJson(Changed([](Json& j) { j["model"]["ignore_merges"] = true; }), {.tokenizer_config = kGpt2}).status(),
      Reason::kUnsupported, "ignore_merges");
  ExpectRefused(FromJson("[]", {}).status(), Reason::kBaseInvalid, "tokenizer.json: must be an object");
  ExpectRefused(FromJson("{", {}).status(), Reason::kBaseInvalid, "tokenizer.json: not valid JSON");
}

TEST(ByteLevelFiles, WhatVocabAndMergesMustNotSay) {
  const auto refuse = [](const std::string& vocab, const std::string& merges, const char* words) {
    ExpectRefused(Made(ParseByteLevelFiles(vocab, merges, {.tokenizer_config = kGpt2})).status(), Reason::kBaseInvalid,
                  words);
  };
  refuse("{", "", "vocab.json: not valid JSON");
  refuse("{}", "", "vocab.json: must be an object");
  refuse(R"({"a":1,"b":1})", "", "vocab.json: has the id 1 twice");
  refuse(R"({"a":1,"a":2})", "", "key \"a\" occurs twice");
  refuse(R"({"a":1.5})", "", "1.5 as the id of \"a\"");
  const std::string vocab = test::TinyBytesVocab();
  refuse(vocab, "#version: 0.2\na b\n\nt h\n", "merges.txt: line 3 is not two pieces");
  refuse(vocab, "a b c\n", "line 1");
  refuse(vocab, "a  b\n", "line 1");
  refuse(vocab, "a \xFF\n", "merges.txt: is not valid UTF-8");
  refuse(vocab, "a b\nq q\n", "merge 2 needs \"qq\"");
  EXPECT_THAT(Ids(Made(ParseByteLevelFiles(vocab, "a b\r\nt h", {.tokenizer_config = kGpt2})), "abthe"),
              ElementsAre(256, 258, 'e'))
      << "lines end as they like";
}

TEST(ByteLevelFiles, WhatTheConfigMustNotSay) {
  const auto refuse = [](const ByteLevelConfigFiles& config, Reason reason, const char* words) {
    ExpectRefused(FromFiles(config).status(), reason, words);
  };
  refuse({.tokenizer_config = "["}, Reason::kBaseInvalid, "tokenizer_config.json: not valid JSON");
  refuse({.tokenizer_config = "[]"}, Reason::kBaseInvalid, "tokenizer_config.json: must be an object");
  refuse({.tokenizer_config = kGpt2, .special_tokens_map = "3"}, Reason::kBaseInvalid, "special_tokens_map.json");
  refuse({.tokenizer_config = kGpt2, .added_tokens = "3"}, Reason::kBaseInvalid, "added_tokens.json");
  refuse({.tokenizer_config = kGpt2, .added_tokens = R"({"x":"y"})"}, Reason::kBaseInvalid, "added_tokens.json: x");
  const auto refuse_key = [&](const char* key, const Json& value, Reason reason, const char* words) {
    Json config = Json::parse(kRoberta);
    config[key] = value;
    refuse({.tokenizer_config = config.dump()}, reason, words);
  };
  refuse_key("tokenizer_class", 1, Reason::kBaseInvalid, "tokenizer_class");
  refuse_key("bos_token", 1, Reason::kBaseInvalid, "bos_token must be a string");
  refuse_key("cls_token", nullptr, Reason::kBaseInvalid, "cls_token must be a token");
  refuse_key("extra_special_tokens", "x", Reason::kBaseInvalid, "extra_special_tokens must be a list");
  refuse_key("additional_special_tokens", {1}, Reason::kBaseInvalid, "additional_special_tokens must be a string");
  refuse_key("add_prefix_space", "yes", Reason::kBaseInvalid, "add_prefix_space");
  refuse_key("truncation_side", "left", Reason::kUnsupported, "truncation_side");
  refuse_key("split_special_tokens", true, Reason::kUnsupported, "split_special_tokens");
  refuse_key("added_tokens_decoder", Json::array(), Reason::kBaseInvalid, "added_tokens_decoder");
}

TEST(ByteLevelFiles, OldAddedTokens) {
  const auto decoded = [](const std::string& map) {
    const auto tokenizer =
        FromFiles({.tokenizer_config = kGpt2, .special_tokens_map = map, .added_tokens = R"({"<x>":268,"<y>":267})"});
    EXPECT_THAT(Ids(tokenizer, "<x><y>"), ElementsAre(268, 267));
    return (*tokenizer)->Decode({267, 268});
  };
  EXPECT_EQ(decoded(R"({"extra_special_tokens":["<y>"]})"), "<x>");
  EXPECT_EQ(decoded(R"({"pad_token":"<y>"})"), "<x>");
  EXPECT_EQ(decoded(R"({"additional_special_tokens":["<y>"]})"), "<y><x>") << "as transformers has it";
}

TEST(ByteLevelFiles, LoadsAFolder) {
  const test::TempFolder folder;
  folder.Write("vocab.json", test::TinyBytesVocab());
  ExpectRefused(LoadTokenizer(folder.path()).status(), Reason::kBaseInvalid, "merges.txt");
  folder.Write("merges.txt", "x");
  folder.Write("config.json", R"({"model_type":"roberta"})");
  ExpectRefused(LoadTokenizer(folder.path()).status(), Reason::kBaseInvalid, "merges.txt: line 1");
  folder.Write("merges.txt", "q q");
  ExpectRefused(LoadTokenizer(folder.path()).status(), Reason::kBaseInvalid, "merges.txt: merge 1");
  folder.Write("merges.txt", test::TinyBytesMerges());
  for (const bool json : {false, true}) {
    const auto encoder = LoadTokenizer(folder.path());
    ASSERT_TRUE(encoder.ok()) << encoder.status();
    EXPECT_EQ((*encoder)->Encode("ab <mask>", kRoom).ids.size(), json ? 4u : 5u) << "tokenizer.json comes first";
    const auto generative = LoadGenerativeTokenizer(folder.path());
    ASSERT_TRUE(generative.ok()) << generative.status();
    EXPECT_EQ((*generative)->Decode({257}), " ab");
    folder.Write("tokenizer.json", test::TinyBytesJson());
  }
  folder.Write("spiece.model", "");
  EXPECT_TRUE(LoadGenerativeTokenizer(folder.path()).ok());
  folder.Write("tokenizer.json", test::TinyT5Json());
  folder.Write("tokenizer_config.json", R"({"extra_ids":2})");
  EXPECT_EQ((*LoadGenerativeTokenizer(folder.path()))->vocab_size(), 15) << "its model says what it is";
  ExpectRefused(LoadTokenizer(folder.path()).status(), Reason::kUnsupported, "WordPiece");
}

TEST(TokenizerJson, SaysItsModelsType) {
  EXPECT_EQ(tokenizer_json::ModelType(test::TinyBytesJson()), "BPE");
  EXPECT_EQ(tokenizer_json::ModelType(test::TinyT5Json()), "Unigram");
  EXPECT_EQ(tokenizer_json::ModelType(R"({"model":{"vocab":{"type":3},"merges":[]}})"), "BPE") << "an old file";
  EXPECT_EQ(tokenizer_json::ModelType(R"({"decoder":{"type":"BPE","merges":[]},"model":{"vocab":{}}})"), "");
  for (const char* broken : {"", "{", "[]", "3", R"({"model":3})", R"({"model":{"type":["BPE"]}})"}) {
    EXPECT_EQ(tokenizer_json::ModelType(broken), "") << broken;
  }
}

}  // namespace
}  // namespace tenon::engine
