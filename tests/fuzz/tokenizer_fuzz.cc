#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "tests/fuzz/mutate.h"
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

}  // namespace
}  // namespace tenon::engine
