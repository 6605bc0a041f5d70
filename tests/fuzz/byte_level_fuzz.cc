#include <gtest/gtest.h>

#include <algorithm>

#include "common/formats/status.h"
#include "tests/fuzz/mutate.h"
#include "tests/worker/engine/text/byte_level_files.h"
#include "worker/engine/text/byte_level_tokenizer.h"

namespace tenon::engine {
namespace {

const ByteLevelConfigFiles& Roberta() {
  static const auto* const config = new ByteLevelConfigFiles{R"({"tokenizer_class":"RobertaTokenizer"})", "", "", ""};
  return *config;
}

TEST(ByteLevelFuzz, TextsOfAnyBytes) {
  auto spec =
      ParseByteLevelJson(test::TinyBytesJson(), {R"({"tokenizer_class":"RobertaTokenizer","added_tokens_decoder":{
      "267":{"content":"<l>","lstrip":true,"rstrip":true},"268":{"content":"<w>","single_word":true,"normalized":false}}})",
                                                 "", "", ""});
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto tokenizer = *ByteLevelTokenizer::Create(*std::move(spec));
  fuzz::Mutator mutator({"ab the it's \xE4\xB8\xAD 12", "<l> a <w>b<w> <mask>  \n\n x", std::string(120, 'a')},
                        {"  ", "'", "\xE4\xB8", "</s>", "<mas", "<l>", "<w>", "\xF0\x9F\x98\x80", "\xC2\x85",
                         std::string(1, '\0'), "\xED\xA0\x80", "\r\n"},
                        14);
  for (int i = 0; i < 100'000; ++i) {
    const std::string text = mutator.Next();
    const int64_t room = i % 40;
    const Encoding cut = tokenizer->Encode(text, room);
    ASSERT_LE(static_cast<int64_t>(cut.ids.size()), room);
    for (const int32_t id : cut.ids) ASSERT_TRUE(id >= 0 && id < tokenizer->vocab_size());
    const std::vector<int32_t> whole = tokenizer->EncodePiece(text);
    ASSERT_EQ(cut.truncated, static_cast<int64_t>(whole.size()) + 2 > room);
    if (!cut.truncated) {
      ASSERT_TRUE(std::equal(whole.begin(), whole.end(), cut.ids.begin() + 1));
    }
    ASSERT_LE(static_cast<int64_t>(tokenizer->EncodePair(text, "ab", room).ids.size()), room);
    tokenizer->Decode(whole);
  }
}

// With all bytes in the vocabulary nothing is lost.
TEST(ByteLevelFuzz, TextsComeBack) {
  auto spec = ParseByteLevelFiles(test::TinyBytesVocab(), test::TinyBytesMerges(), Roberta());
  ASSERT_TRUE(spec.ok()) << spec.status();
  spec->added_tokens.clear();
  const auto tokenizer = *ByteLevelTokenizer::Create(*std::move(spec));
  fuzz::Mutator mutator({"ab the it's \xE4\xB8\xAD 12 \xC3\xA9 <mask>"}, {"  ", "'s", "\xE4\xB8\xAD", "\n\n", "ab"},
                        15);
  for (int i = 0; i < 50'000; ++i) {
    const std::string text = tokenizer->Decode(tokenizer->EncodePiece(mutator.Next()));
    ASSERT_EQ(tokenizer->Decode(tokenizer->EncodePiece(text)), text);
  }
}

TEST(ByteLevelFuzz, FilesOfAnyBytes) {
  const std::vector<std::string> words = {
      "null",      "-1",           "1e999",         "{",       "}",    "[",   "]", ",", "\"id\":",
      "\"type\":", "\"vocab\":{}", "[\"a\",\"b\"]", "\"a b\"", "true", "\xFF"};
  fuzz::Mutator json({test::TinyBytesJson()}, words, 16);
  fuzz::Mutator vocab({test::TinyBytesVocab()}, words, 17);
  fuzz::Mutator merges({test::TinyBytesMerges()}, {" ", "\n", "\r\n", "#version", "a b", "\xFF", std::string(1, '\0')},
                       18);
  fuzz::Mutator config({R"({"tokenizer_class":"RobertaTokenizer","cls_token":"<s>","add_prefix_space":true,"mask_token":
      {"content":"<mask>","lstrip":true},"extra_special_tokens":["<x>"],"added_tokens_decoder":{"267":{"content":"<y>"}}})"},
                       words, 19);
  int accepted[4] = {};
  for (int i = 0; i < 40'000; ++i) {
    const int kind = i % 4;
    auto spec = kind == 0   ? ParseByteLevelJson(json.Next(), Roberta())
                : kind == 1 ? ParseByteLevelFiles(vocab.Next(), test::TinyBytesMerges(), Roberta())
                : kind == 2 ? ParseByteLevelFiles(test::TinyBytesVocab(), merges.Next(), Roberta())
                            : ParseByteLevelJson(test::TinyBytesJson(), {config.Next(), "", "", ""});
    if (!spec.ok()) {
      ASSERT_NE(GetReason(spec.status()), Reason::kUnspecified) << spec.status();
      continue;
    }
    const auto tokenizer = ByteLevelTokenizer::Create(*std::move(spec));
    if (!tokenizer.ok()) continue;
    ++accepted[kind];
    const auto ids = (*tokenizer)->Encode("ab the <mask> <x>\xC3\xA9\xE4\xB8\xAD\x01 c", 64).ids;
    for (const int32_t id : ids) ASSERT_TRUE(id >= 0);
    (*tokenizer)->Decode(ids);
  }
  for (const int count : accepted) EXPECT_GT(count, 100);
}

}  // namespace
}  // namespace tenon::engine
