#include "worker/engine/text/wordpiece_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Ids by line: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, then these from 5.
constexpr char kVocabulary[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\naff\n,\nel\n##eve\n\xE4\xB8\xAD\n[\n]\nmask\n";
constexpr int64_t kRoom = 512;

std::unique_ptr<const WordPieceTokenizer> Make(const std::string& config = "") {
  auto spec = ParseVocabulary(kVocabulary, config);
  EXPECT_TRUE(spec.ok()) << spec.status();
  auto tokenizer = WordPieceTokenizer::Create(*std::move(spec));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

TEST(WordPieceTokenizer, LongestPiecesFirst) {
  const auto tokenizer = Make();
  EXPECT_THAT(tokenizer->Encode("unaffable", kRoom).ids, ElementsAre(2, 5, 6, 7, 3));
  EXPECT_THAT(tokenizer->Encode("UN,aff", kRoom).ids, ElementsAre(2, 5, 9, 8, 3));
  EXPECT_THAT(tokenizer->Encode("unx un", kRoom).ids, ElementsAre(2, 1, 5, 3))
      << "a word with an unknown piece is unknown";
  EXPECT_THAT(tokenizer->Encode("", kRoom).ids, ElementsAre(2, 3));
  EXPECT_EQ(tokenizer->vocab_size(), 16);
}

TEST(WordPieceTokenizer, CleansAndStripsAccents) {
  const auto tokenizer = Make();
  EXPECT_THAT(tokenizer->Encode("\xC3\x89l\xC3\xA8ve", kRoom).ids, ElementsAre(2, 10, 11, 3));
  EXPECT_THAT(tokenizer
                  ->Encode("E\xCC\x81l\xE2\x80\x8B"
                           "eve",
                           kRoom)
                  .ids,
              ElementsAre(2, 10, 11, 3))
      << "zero-width space goes";
  EXPECT_THAT(tokenizer
                  ->Encode("un\xE4\xB8\xAD"
                           "aff\xC2\xA0un",
                           kRoom)
                  .ids,
              ElementsAre(2, 5, 12, 8, 5, 3));
  EXPECT_THAT(tokenizer->Encode(std::string("u\0n", 3), kRoom).ids, ElementsAre(2, 5, 3));
}

TEST(WordPieceTokenizer, SpecialTokensAreFoundInTheText) {
  const auto tokenizer = Make();
  EXPECT_THAT(tokenizer->Encode("un[MASK]un [SEP]", kRoom).ids, ElementsAre(2, 5, 4, 5, 3, 3));
  EXPECT_THAT(tokenizer->Encode("[mask]", kRoom).ids, ElementsAre(2, 13, 15, 14, 3));
}

TEST(WordPieceTokenizer, CutsToTheRoom) {
  const auto tokenizer = Make();
  const auto cut = tokenizer->Encode("un un un", 4);
  EXPECT_THAT(cut.ids, ElementsAre(2, 5, 5, 3));
  EXPECT_TRUE(cut.truncated);
  EXPECT_FALSE(tokenizer->Encode("un un", 4).truncated);
  EXPECT_FALSE(tokenizer->Encode("un un  \t", 4).truncated) << "what follows is no token";
  EXPECT_THAT(tokenizer->Encode("unaffable", 4).ids, ElementsAre(2, 5, 6, 3));
  EXPECT_TRUE(tokenizer->Encode("un un[MASK]", 4).truncated);
  EXPECT_THAT(tokenizer->Encode("un", 2).ids, ElementsAre(2, 3));
  EXPECT_THAT(tokenizer->Encode("un", 1).ids, ElementsAre(2));
  EXPECT_THAT(tokenizer->Encode("un", 0).ids, ElementsAre());
  EXPECT_THAT(tokenizer->Encode("un", -5).ids, ElementsAre());
}

TEST(WordPieceTokenizer, LongWordsAreUnknown) {
  auto spec = ParseVocabulary(absl::StrCat(kVocabulary, std::string(100, 'a'), "\n", std::string(101, 'a'), "\n"), "");
  ASSERT_TRUE(spec.ok());
  const auto tokenizer = *WordPieceTokenizer::Create(*std::move(spec));
  EXPECT_THAT(tokenizer->Encode(std::string(100, 'a'), kRoom).ids, ElementsAre(2, 16, 3));
  EXPECT_THAT(tokenizer->Encode(std::string(101, 'a'), kRoom).ids, ElementsAre(2, 1, 3));
  EXPECT_THAT(tokenizer->Encode(std::string(10 << 20, 'a'), kRoom).ids, ElementsAre(2, 1, 3));
}

TEST(WordPieceTokenizer, MalformedUtf8DoesNotCrash) {
  const auto tokenizer = Make();
  for (const char* text :
       {"\x80", "un\xFF", "\xC3", "\xE4\xB8", "\xF0\x9F\x98", "\xED\xA0\x80", "\xF8\x88\x80\x80\x80"}) {
    EXPECT_GE(tokenizer->Encode(text, kRoom).ids.size(), 2u);
  }
  EXPECT_THAT(tokenizer->Encode("u\xFFn", kRoom).ids, ElementsAre(2, 5, 3)) << "read as U+FFFD, which clean-up drops";
}

TEST(WordPieceTokenizer, ThreadsShareIt) {
  const auto tokenizer = Make();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) EXPECT_EQ(tokenizer->Encode("un\xC3\xA9 unaffable", kRoom).ids.size(), 6u);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(TokenizerConfig, SettingsWin) {
  EXPECT_THAT(Make(R"({"do_lower_case":false})")->Encode("UN \xC3\x89l\xC3\xA8ve", kRoom).ids, ElementsAre(2, 1, 1, 3));
  EXPECT_THAT(Make(R"({"tokenize_chinese_chars":false})")->Encode("un\xE4\xB8\xAD", kRoom).ids, ElementsAre(2, 1, 3));
  EXPECT_THAT(Make(R"({"strip_accents":false})")->Encode("\xC3\xA9leve UN", kRoom).ids, ElementsAre(2, 1, 5, 3));
  EXPECT_THAT(Make(R"({"cls_token":{"content":"[MASK]"},"mask_token":"[CLS]"})")->Encode("un", kRoom).ids,
              ElementsAre(4, 5, 3));
}

TEST(TokenizerConfig, AddedTokensHaveTheirRules) {
  const auto tokenizer = Make(R"({"added_tokens_decoder":{
      "20":{"content":"<one>","single_word":true,"normalized":false},"21":{"content":"<l>","lstrip":true,"normalized":false},
      "22":{"content":"Caf\u00e9","normalized":true},"23":{"content":"<r>","rstrip":true,"special":true}}})");
  EXPECT_EQ(tokenizer->vocab_size(), 24);
  EXPECT_THAT(tokenizer->Encode("un <one> un", kRoom).ids, ElementsAre(2, 5, 20, 5, 3));
  EXPECT_THAT(tokenizer->Encode("un<l>un<r> un", kRoom).ids, ElementsAre(2, 5, 21, 5, 23, 5, 3));
  EXPECT_THAT(tokenizer->Encode("CAFE un", kRoom).ids, ElementsAre(2, 22, 5, 3)) << "looked for in the normalized text";
}

TEST(AddedTokens, LeftmostThenLongest) {
  const AddedTokens tokens({{"<a>", 1}, {"<a>b", 2}, {"b<", 3}});
  const auto pieces = tokens.Cut("x<a>b<a>");
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].id, -1);
  EXPECT_EQ(pieces[1].id, 2);
  EXPECT_EQ(pieces[2].id, 1);
  EXPECT_TRUE(tokens.Cut("").empty());
}

struct BadFile {
  const char* json;
  Reason reason;
  const char* message;
};

class BadTokenizerJson : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadTokenizerJson, NamesThePart) {
  const auto spec = ParseTokenizerJson(GetParam().json, "");
  EXPECT_EQ(GetReason(spec.status()), GetParam().reason) << GetParam().json << spec.status();
  EXPECT_THAT(std::string(spec.status().message()), HasSubstr(GetParam().message));
  EXPECT_THAT(std::string(spec.status().message()), HasSubstr("tokenizer.json"));
}

#define PARTS R"("normalizer":{"type":"BertNormalizer"},"pre_tokenizer":{"type":"BertPreTokenizer"})"
#define MODEL R"("model":{"type":"WordPiece","vocab":{"[UNK]":0}},)"

INSTANTIATE_TEST_SUITE_P(
    All, BadTokenizerJson,
    ::testing::Values(
        BadFile{"", Reason::kBaseInvalid, "not valid JSON"}, BadFile{"[]", Reason::kBaseInvalid, "must be an object"},
        BadFile{"{}", Reason::kBaseInvalid, "model is missing"},
        BadFile{R"({"model":{"type":"BPE"}})", Reason::kUnsupported, "model \"BPE\" is not supported"},
        BadFile{"{" MODEL R"("normalizer":{"type":"Sequence"}})", Reason::kUnsupported, "normalizer \"Sequence\""},
        BadFile{"{" MODEL R"("normalizer":{"type":"BertNormalizer"},"pre_tokenizer":{"type":"Metaspace"}})",
                Reason::kUnsupported, "Metaspace"},
        BadFile{R"({"model":{"type":"WordPiece"},)" PARTS "}", Reason::kBaseInvalid, "model.vocab must be an object"},
        BadFile{R"({"model":{"type":"WordPiece","vocab":{"a":-1}},)" PARTS "}", Reason::kBaseInvalid,
                "has -1 as the id of \"a\""},
        BadFile{R"({"model":{"type":"WordPiece","vocab":{"a":1,"b":1}},)" PARTS "}", Reason::kBaseInvalid,
                "the id 1 twice"},
        BadFile{R"({"model":{"type":"WordPiece","vocab":{"a":4000000000}},)" PARTS "}", Reason::kBaseInvalid,
                "4000000000"},
        BadFile{R"({"model":{"type":"WordPiece","vocab":{"a":1,"a":2}},)" PARTS "}", Reason::kBaseInvalid,
                "\"a\" occurs twice"},
        BadFile{"{" MODEL PARTS R"(,"post_processor":{"type":"RobertaProcessing"}})", Reason::kUnsupported,
                "RobertaProcessing"},
        BadFile{"{" MODEL PARTS R"(,"post_processor":{"type":"TemplateProcessing","single":[]}})", Reason::kBaseInvalid,
                "the text once"},
        BadFile{"{" MODEL PARTS
                R"(,"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[X]"}}]}})",
                Reason::kBaseInvalid, "ids of \"[X]\""},
        BadFile{"{" MODEL PARTS R"(,"post_processor":{"type":"BertProcessing","sep":["[SEP]",-3],"cls":["[CLS]",2]}})",
                Reason::kBaseInvalid, "post_processor.sep"},
        BadFile{"{" MODEL PARTS R"(,"added_tokens":[{"content":"x"}]})", Reason::kBaseInvalid, "without an id"},
        BadFile{"{" MODEL PARTS R"(,"added_tokens":[{"id":1}]})", Reason::kBaseInvalid, "content is missing"}));

TEST(Vocabulary, NamesItsTrouble) {
  const auto message = [](const std::string& vocabulary, const std::string& config = "") {
    const auto spec = ParseVocabulary(vocabulary, config);
    EXPECT_EQ(GetReason(spec.status()), Reason::kBaseInvalid);
    return std::string(spec.status().message());
  };
  EXPECT_THAT(message("a\na\n"), HasSubstr("\"a\" occurs twice"));
  EXPECT_THAT(message("a\n\nb\n"), HasSubstr("line 2 is empty"));
  EXPECT_THAT(message("\xFF\n"), HasSubstr("not valid UTF-8"));
  EXPECT_THAT(message("[UNK]\n"), HasSubstr("\"[CLS]\" is missing"));
  EXPECT_THAT(message(kVocabulary, R"({"cls_token":5})"), HasSubstr("cls_token must be a string"));
  EXPECT_THAT(message(kVocabulary, R"({"added_tokens_decoder":{"x":{}}})"), HasSubstr("\"x\", which is not an id"));
  const auto no_unknown = WordPieceTokenizer::Create(*ParseVocabulary("[CLS]\n[SEP]\n", ""));
  EXPECT_THAT(std::string(no_unknown.status().message()), HasSubstr("\"[UNK]\" is not in the vocabulary"));
}

TEST(LoadTokenizer, PrefersTokenizerJson) {
  const test::TempFolder folder;
  EXPECT_THAT(std::string(LoadTokenizer(folder.path()).status().message()), HasSubstr("vocab.txt"));
  folder.Write("vocab.txt", kVocabulary);
  EXPECT_EQ((*LoadTokenizer(folder.path()))->vocab_size(), 16);
  folder.Write("tokenizer.json",
               R"({"model":{"type":"WordPiece","vocab":{"[UNK]":0,"x":1}},"normalizer":{"type":"BertNormalizer"},
    "pre_tokenizer":{"type":"BertPreTokenizer"},"truncation":{"max_length":2},"padding":{"strategy":{"Fixed":128}}})");
  const auto tokenizer = LoadTokenizer(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT((*tokenizer)->Encode("x x x", kRoom).ids, ElementsAre(1, 1, 1))
      << "the file's truncation and padding are not ours";
}

TEST(WordPieceTokenizer, APairIsOneRowOfTwoTypes) {
  const auto tokenizer = Make();
  const Encoding pair = tokenizer->EncodePair("un aff", "el", kRoom);
  EXPECT_THAT(pair.ids, ElementsAre(2, 5, 8, 3, 10, 3));
  EXPECT_EQ(pair.second_type, 4);
  EXPECT_FALSE(pair.truncated);
  EXPECT_EQ(tokenizer->EncodeRow("un aff", "el", kRoom).ids, pair.ids);
  EXPECT_THAT(tokenizer->EncodeRow("un aff", "", kRoom).ids, ElementsAre(2, 5, 8, 3));
  EXPECT_EQ(tokenizer->Encode("un", kRoom).second_type, kNoPlace);
}

TEST(WordPieceTokenizer, TheLongerTextOfAPairIsCutFirst) {
  const auto tokenizer = Make();
  const Encoding first = tokenizer->EncodePair("un un un un", "aff", 6);
  EXPECT_THAT(first.ids, ElementsAre(2, 5, 5, 3, 8, 3));
  EXPECT_TRUE(first.truncated);
  EXPECT_THAT(tokenizer->EncodePair("aff", "un un un un", 6).ids, ElementsAre(2, 8, 3, 5, 5, 3));
  EXPECT_THAT(tokenizer->EncodePair("aff aff aff", "un un un", 6).ids, ElementsAre(2, 8, 3, 5, 5, 3));
  const Encoding none = tokenizer->EncodePair("aff", "un", 3);
  EXPECT_THAT(none.ids, ElementsAre(2, 3, 3));
  EXPECT_EQ(none.second_type, 2);
  EXPECT_THAT(tokenizer->EncodePair("aff", "un", 1).ids, ElementsAre(2));
}

TEST(WordPieceTokenizer, TypesAreThereWhereTransformersGivesThem) {
  const auto second_type = [](const std::string& config) {
    return Make(config)->EncodePair("un", "el", kRoom).second_type;
  };
  EXPECT_EQ(second_type(R"({"tokenizer_class":"BertTokenizer"})"), 3);
  EXPECT_EQ(second_type(R"({"tokenizer_class":"DistilBertTokenizer"})"), kNoPlace);
  EXPECT_EQ(second_type(R"({"tokenizer_class":"PreTrainedTokenizerFast"})"), kNoPlace);
  EXPECT_EQ(second_type(R"({"tokenizer_class":"PreTrainedTokenizerFast","model_input_names":["token_type_ids"]})"), 3);
  EXPECT_EQ(second_type(R"({"model_input_names":["input_ids","attention_mask"]})"), kNoPlace);
}

}  // namespace
}  // namespace tenon::engine
