#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "tests/fuzz/mutate.h"
#include "tests/worker/engine/text/t5_files.h"
#include "worker/engine/text/t5_tokenizer.h"
#include "worker/engine/text/wordpiece_tokenizer.h"

namespace tenon::engine {
namespace {

constexpr char kVocabulary[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n##\xC3\xA9\n\xE4\xB8\xAD\nun\n##aff\n.\n";
constexpr char kJson[] =
    R"({"version":"1.0","truncation":null,"added_tokens":[{"id":4,"special":true,"content":"[MASK]","normalized":false}],
  "normalizer":{"type":"BertNormalizer","lowercase":true,"strip_accents":null},"pre_tokenizer":{"type":"BertPreTokenizer"},
  "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]"}},{"Sequence":{"id":"A"}}],
  "special_tokens":{"[CLS]":{"ids":[2]}}},"model":{"type":"WordPiece","vocab":{"[UNK]":0,"a":1,"[CLS]":2,"##b":3}}})";

TEST(TokenizerFuzz, TextsOfAnyBytes) {
  auto spec =
      ParseVocabulary(kVocabulary, R"({"added_tokens_decoder":{"12":{"content":"<l>","lstrip":true,"rstrip":true},
      "13":{"content":"<w>","single_word":true,"special":true}}})");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto tokenizer = *WordPieceTokenizer::Create(*std::move(spec));
  fuzz::Mutator mutator({"una\xC3\xA9 \xE4\xB8\xAD [MASK] a.b", "<l> a <w>b<w>",
                         "e\xCC\x81\xE3\x80\xAE\xF0\x9D\x85\xA5 \xEA\xB0\x80", std::string(120, 'a')},
                        {"\xCC\x81", "\xE2\x80\x8B", "[MASK]", "[MAS", "<l>", "<w>", "\xF0\x9F\x98\x80", "\xC2\xA0",
                         std::string(1, '\0'), "\xED\xA0\x80", "\xC4\xB0"},
                        8);
  for (int i = 0; i < 150'000; ++i) {
    const std::string text = mutator.Next();
    const int64_t room = i % 40;
    const Encoding cut = tokenizer->Encode(text, room);
    ASSERT_LE(static_cast<int64_t>(cut.ids.size()), room);
    for (const int32_t id : cut.ids) ASSERT_TRUE(id >= 0 && id < tokenizer->vocab_size());
    if (cut.truncated || room < 2) continue;
    ASSERT_EQ(tokenizer->Encode(text, 1 << 20).ids, cut.ids) << "not cut, so more room changes nothing";
  }
}

TEST(TokenizerFuzz, FilesOfAnyBytes) {
  fuzz::Mutator json({kJson},
                     {"null", "-1", "4294967296", "{", "}", "[", "]", ",", "\"id\":", "\"type\":", "\"ids\":[-1]",
                      "\"vocab\":{}", "\xFF"},
                     9);
  fuzz::Mutator vocabulary({kVocabulary}, {"\n", "\r\n", "##", "[UNK]\n", "\xFF", std::string(1, '\0')}, 10);
  int accepted = 0;
  for (int i = 0; i < 40'000; ++i) {
    auto spec = i % 2 == 0 ? ParseTokenizerJson(json.Next(), "") : ParseVocabulary(vocabulary.Next(), "");
    if (!spec.ok()) {
      ASSERT_NE(GetReason(spec.status()), Reason::kUnspecified) << spec.status();
      continue;
    }
    const auto tokenizer = WordPieceTokenizer::Create(*std::move(spec));
    if (!tokenizer.ok()) continue;
    ++accepted;
    for (const int32_t id : (*tokenizer)->Encode("ab [MASK] \xC3\xA9", 64).ids) ASSERT_GE(id, 0);
  }
  EXPECT_GT(accepted, 100);
}

TEST(T5TokenizerFuzz, TextsOfAnyBytes) {
  auto spec = ParseT5Spiece(test::TinySpiece(), R"({"extra_ids":2,"added_tokens_decoder":{
      "15":{"content":"<l>","lstrip":true,"rstrip":true},"16":{"content":"<w>","single_word":true,"normalized":false}}})");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto tokenizer = *T5Tokenizer::Create(*std::move(spec));
  fuzz::Mutator mutator({"ab abc e\xCC\x81 \xEF\xBD\x81\xC2\xA0.", "<l> a <w>b<w> <extra_id_0>",
                         "\xE0\xA4\x95\xE0\xA5\x8D\xE0\xA4\xB7 \xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9"},
                        {"\xCC\x81", "\xE2\x96\x81", "</s>", "<extra_id_", "<l>", "<w>", "\xF0\x9F\x98\x80", "\xC2\x85",
                         std::string(1, '\0'), "\xED\xA0\x80", "\r\n", "\xEF\xBD\x81"},
                        11);
  for (int i = 0; i < 100'000; ++i) {
    const std::string text = mutator.Next();
    const int64_t room = i % 40;
    const Encoding cut = tokenizer->Encode(text, room);
    ASSERT_LE(static_cast<int64_t>(cut.ids.size()), room);
    for (const int32_t id : cut.ids) ASSERT_TRUE(id >= 0 && id < tokenizer->vocab_size());
    std::vector<int32_t> whole = tokenizer->EncodePiece(text);
    whole.push_back(1);
    ASSERT_EQ(cut.truncated, static_cast<int64_t>(whole.size()) > room);
    if (room == 0) continue;
    whole[static_cast<size_t>(std::min<int64_t>(room, static_cast<int64_t>(whole.size()))) - 1] = 1;
    whole.resize(cut.ids.size());
    ASSERT_EQ(cut.ids, whole);
    tokenizer->Decode(whole);
  }
}

TEST(T5TokenizerFuzz, FilesOfAnyBytes) {
  fuzz::Mutator json({test::TinyT5Json()},
                     {"null", "-1", "1e999", "{", "}", "[", "]", ",", "\"id\":", "\"type\":", "\"vocab\":[]",
                      "[\"a\",0]", "AAAA", "/////w", "\xFF"},
                     12);
  fuzz::Mutator spiece({test::TinySpiece(), test::TinySpiece(test::TinyPieces(), "")},
                       {"\x0A", "\x12", "\x1A", "\x7F", std::string(4, '\0'), std::string(4, '\xFF'), "\x18\x04",
                        "\x18\x02", std::string("\x00\x00\xC0\x7F", 4), test::ProtoField(2, test::ProtoField(3, 2)),
                        test::ProtoField(4, test::ProtoField(1, test::ProtoField(1, "ab")))},
                       13);
  int accepted[2] = {0, 0};
  for (int i = 0; i < 40'000; ++i) {
    auto spec = i % 2 == 0 ? ParseT5TokenizerJson(json.Next(), "") : ParseT5Spiece(spiece.Next(), "");
    if (!spec.ok()) {
      ASSERT_NE(GetReason(spec.status()), Reason::kUnspecified) << spec.status();
      continue;
    }
    const auto tokenizer = T5Tokenizer::Create(*std::move(spec));
    if (!tokenizer.ok()) continue;
    ++accepted[i % 2];
    const auto ids = (*tokenizer)->Encode("ab <extra_id_1> \xC3\xA9 e\xCC\x81\xEF\xBD\x81\x01 c", 64).ids;
    for (const int32_t id : ids) ASSERT_TRUE(id >= 0 && id < (*tokenizer)->vocab_size());
    (*tokenizer)->Decode(ids);
  }
  EXPECT_GT(accepted[0], 100);
  EXPECT_GT(accepted[1], 100);
}

}  // namespace
}  // namespace tenon::engine
