#include "worker/engine/text/byte_level_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/worker/engine/text/byte_level_files.h"
#include "worker/engine/generate/text_stream.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Json = nlohmann::json;

constexpr int64_t kRoom = 512;
constexpr int32_t kBegin = 262, kPad = 263, kEnd = 264, kUnknown = 265, kMask = 266;

std::unique_ptr<const ByteLevelTokenizer> Make(
    const std::string& config = R"({"tokenizer_class":"RobertaTokenizer"})") {
  auto spec = ParseByteLevelJson(test::TinyBytesJson(), {.tokenizer_config = config});
  EXPECT_TRUE(spec.ok()) << spec.status();
  auto tokenizer = ByteLevelTokenizer::Create(*std::move(spec));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

TEST(ByteLevelTokenizer, WordsAndBytes) {
  const auto tokenizer = Make();
  EXPECT_THAT(tokenizer->Encode("ab ab the", kRoom).ids, ElementsAre(kBegin, 256, 257, ' ', 259, kEnd));
  EXPECT_THAT(tokenizer->EncodePiece("a b\nab"), ElementsAre('a', ' ', 'b', '\n', 256));
  EXPECT_THAT(tokenizer->EncodePiece("\xE4\xB8\xAD\xE4\xB8\x80"), ElementsAre(261, 260, 0x80));
  EXPECT_THAT(tokenizer->Encode("", kRoom).ids, ElementsAre(kBegin, kEnd));
  EXPECT_THAT(tokenizer->EncodePiece(std::string("a\0b", 3)), ElementsAre('a', 0, 'b'));
  EXPECT_EQ(tokenizer->vocab_size(), 267);
}

TEST(ByteLevelTokenizer, MalformedBytesAreReplaced) {
  EXPECT_THAT(Make()->EncodePiece("a\xFF\xE4"), ElementsAre('a', 0xEF, 0xBF, 0xBD, 0xEF, 0xBF, 0xBD));
}

TEST(ByteLevelTokenizer, ASpaceBeforeEachStretch) {
  const auto tokenizer = Make(R"({"tokenizer_class":"RobertaTokenizer","add_prefix_space":true})");
  EXPECT_THAT(tokenizer->EncodePiece("ab"), ElementsAre(257));
  EXPECT_THAT(tokenizer->EncodePiece(" ab"), ElementsAre(257));
  EXPECT_THAT(tokenizer->EncodePiece("\nab"), ElementsAre(' ', '\n', 256));
  EXPECT_THAT(tokenizer->EncodePiece("ab<s>ab"), ElementsAre(257, kBegin, 257));
  EXPECT_THAT(tokenizer->EncodePiece(""), IsEmpty());
}

TEST(ByteLevelTokenizer, AddedTokens) {
  const auto tokenizer = Make();
  EXPECT_THAT(tokenizer->EncodePiece("ab  <mask> ab"), ElementsAre(256, kMask, 257)) << "<mask> takes what is before";
  EXPECT_THAT(tokenizer->EncodePiece("ab </s>"), ElementsAre(256, ' ', kEnd));
  EXPECT_THAT(tokenizer->EncodePiece("<pad><unk>"), ElementsAre(kPad, kUnknown));
  const auto more = Make(R"({"tokenizer_class":"GPT2Tokenizer","bos_token":"<s>","eos_token":"</s>","unk_token":null,
      "added_tokens_decoder":{"267":{"content":"<new>","normalized":true},"268":{"content":"<s>x","special":true}}})");
  EXPECT_THAT(more->EncodePiece("<new><s>x<s></s><mask>"),
              ElementsAre(267, 268, kBegin, kEnd, '<', 'm', 'a', 's', 'k', '>'))
      << "the config's tokens instead of the file's";
  EXPECT_EQ(more->vocab_size(), 269);
  EXPECT_EQ(more->Decode({267, 268, kMask}), "<new><mask>");
}

TEST(ByteLevelTokenizer, CutsToTheRoom) {
  const auto tokenizer = Make();
  const auto cut = tokenizer->Encode("ab ab ab", 4);
  EXPECT_THAT(cut.ids, ElementsAre(kBegin, 256, 257, kEnd));
  EXPECT_TRUE(cut.truncated);
  EXPECT_FALSE(tokenizer->Encode("ab ab", 4).truncated);
  EXPECT_THAT(tokenizer->Encode("ab<mask>", 3).ids, ElementsAre(kBegin, 256, kEnd));
  EXPECT_THAT(tokenizer->Encode("ab", 2).ids, ElementsAre(kBegin, kEnd));
  EXPECT_THAT(tokenizer->Encode("ab", 1).ids, ElementsAre(kBegin));
  EXPECT_TRUE(tokenizer->Encode("", 1).truncated);
  EXPECT_FALSE(tokenizer->Encode("", 2).truncated);
  EXPECT_THAT(tokenizer->Encode("ab", 0).ids, IsEmpty());
  EXPECT_THAT(tokenizer->Encode("ab", -3).ids, IsEmpty());
}

TEST(ByteLevelTokenizer, Pairs) {
  const auto tokenizer = Make();
  EXPECT_THAT(tokenizer->EncodePair("ab", "the", kRoom).ids, ElementsAre(kBegin, 256, kEnd, kEnd, 259, kEnd));
  const auto body = [&](const char* first, const char* second, int64_t room) {
    return tokenizer->EncodePair(first, second, room + 4).ids;
  };
  EXPECT_THAT(body("a", "abcdefg", 3), ElementsAre(kBegin, 'a', kEnd, kEnd, 256, 'c', kEnd)) << "the longer one";
  EXPECT_THAT(body("xyzxyz", "abc", 5), ElementsAre(kBegin, 'x', 'y', 'z', kEnd, kEnd, 256, 'c', kEnd));
  EXPECT_THAT(body("xyzx", "yzxyz", 3), ElementsAre(kBegin, 'x', kEnd, kEnd, 'y', 'z', kEnd)) << "half each";
  EXPECT_THAT(body("xyzxy", "zxyz", 3), ElementsAre(kBegin, 'x', 'y', kEnd, kEnd, 'z', kEnd));
  EXPECT_THAT(body("ab", "ab", 0), ElementsAre(kBegin, kEnd, kEnd, kEnd));
  EXPECT_THAT(tokenizer->EncodePair("ab", "ab", 3).ids, ElementsAre(kBegin, kEnd, kEnd));
  EXPECT_TRUE(tokenizer->EncodePair("ab", "ab", 5).truncated);
  EXPECT_FALSE(tokenizer->EncodePair("ab", "ab", 6).truncated);
}

TEST(ByteLevelTokenizer, Decodes) {
  const auto tokenizer = Make();
  EXPECT_EQ(tokenizer->Decode({kBegin, 256, 257, ' ', 259, kMask, '\n', kEnd, kPad}), "ab ab the\n");
  EXPECT_EQ(tokenizer->Decode({261, 260, 0xAD}), "\xE4\xB8\xAD\xE4\xB8\xAD");
  EXPECT_EQ(tokenizer->Decode({260, 'a', 0xFF}),
            "\xEF\xBF\xBD"
            "a\xEF\xBF\xBD");
  EXPECT_EQ(tokenizer->Decode({260, kEnd, 0xAD}), "\xE4\xB8\xAD") << "special tokens are not there";
  EXPECT_EQ(tokenizer->Decode({-1, 9999, 'a'}), "a");
  EXPECT_EQ(tokenizer->Decode({}), "");
}

TEST(ByteLevelTokenizer, AnAddedTokenOfTheAlphabetIsBytes) {
  const auto tokenizer = Make(R"({"tokenizer_class":"RobertaTokenizer","extra_special_tokens":["<x>"],
      "added_tokens_decoder":{"267":{"content":"\u0120q"},"268":{"content":"\u4e2d"},"269":{"content":"a b\u00e9"}}})");
  EXPECT_EQ(tokenizer->Decode({267, 268, 269}),
            " q\xE4\xB8\xAD"
            "a b\xC3\xA9");
  EXPECT_THAT(tokenizer->EncodePiece("\xC4\xA0q\xE4\xB8\xAD<x>"), ElementsAre(267, 268, 270));
}

TEST(ByteLevelTokenizer, CleansUpOnlyWhereTheConfigSaysSoTwice) {
  EXPECT_EQ(
      Make(R"({"tokenizer_class":"RobertaTokenizer","clean_up_tokenization_spaces":true})")->Decode({'a', ' ', '.'}),
      "a .");
  const auto cleaning = Make(R"({"tokenizer_class":"RobertaTokenizer","clean_up_tokenization_spaces":true,
      "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output":true})");
  EXPECT_EQ(cleaning->Decode({'a', ' ', '.'}), "a.");
}

// Tokens that end in the middle of a character: nothing of it is shown until it is whole or can no longer be.
TEST(ByteLevelTokenizer, StreamsWholeCharacters) {
  const auto tokenizer = Make();
  TextStream stream([&](absl::Span<const int32_t> ids) { return tokenizer->Decode(ids); }, {});
  std::vector<int32_t> ids;
  const auto add = [&](int32_t id) {
    ids.push_back(id);
    return stream.Add(ids);
  };
  EXPECT_EQ(add('a'), "a");
  EXPECT_EQ(add(260), "");
  EXPECT_EQ(add(0xAD), "\xE4\xB8\xAD");
  EXPECT_EQ(add(0xF0), "");
  EXPECT_EQ(add(0x9F), "");
  EXPECT_EQ(add(0x98), "");
  EXPECT_EQ(add(0x80), "\xF0\x9F\x98\x80");
  EXPECT_EQ(add(0xF0), "");
  EXPECT_EQ(add('b'),
            "\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(add(0xE4), "");
  EXPECT_EQ(stream.Finish(), "\xEF\xBF\xBD");
}

// Whatever bytes follow: all sequences of a few of those that begin, continue and end characters.
TEST(ByteLevelTokenizer, NothingShownIsTakenBack) {
  const auto tokenizer = Make();
  const std::vector<int32_t> tokens = {'a', 0xC3, 0xE0, 0xE4, 0xED, 0xF0, 0x80, 0x9F, 0xBF, 0xFF, 260, 261};
  constexpr int kLength = 4;
  size_t all = 1;
  for (int i = 0; i < kLength; ++i) all *= tokens.size();
  for (size_t number = 0; number < all; ++number) {
    TextStream stream([&](absl::Span<const int32_t> ids) { return tokenizer->Decode(ids); }, {});
    std::vector<int32_t> ids;
    std::string shown;
    for (size_t rest = number, i = 0; i < kLength; ++i, rest /= tokens.size()) {
      ids.push_back(tokens[rest % tokens.size()]);
      shown += stream.Add(ids);
      ASSERT_EQ(tokenizer->Decode(ids).substr(0, shown.size()), shown) << number;
    }
    ASSERT_EQ(shown + stream.Finish(), tokenizer->Decode(ids)) << number;
  }
}

// A text is read word by word until there are enough ids, and one word without an end is merged in a time that hardly
// grows faster than its length. What is quadratic takes minutes here.
TEST(ByteLevelTokenizer, LongTexts) {
  const auto tokenizer = Make();
  EXPECT_EQ(tokenizer->EncodePiece(std::string(1 << 20, 'a')).size(), size_t{1} << 20);
  std::string text;
  for (int i = 0; i < 1 << 18; ++i) text += "ab ";
  EXPECT_EQ(tokenizer->Encode(text, 64).ids.size(), 64u);
  EXPECT_EQ(tokenizer->EncodePiece(text).size(), (size_t{1} << 18) + 1);
  EXPECT_EQ(tokenizer->EncodePiece(std::string(1 << 20, ' ')).size(), size_t{1} << 20);
}

}  // namespace
}  // namespace tenon::engine
