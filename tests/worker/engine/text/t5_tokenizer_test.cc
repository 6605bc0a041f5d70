#include "worker/engine/text/t5_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/worker/engine/text/t5_files.h"
#include "worker/engine/generate/text_stream.h"
#include "worker/engine/text/clean_up.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kRoom = 512;

// Sentinels <extra_id_1> 13 and <extra_id_0> 14 behind the pieces of TinyPieces().
std::unique_ptr<const T5Tokenizer> Make(const std::string& config = R"({"extra_ids":2})") {
  auto spec = ParseT5Spiece(test::TinySpiece(), config);
  EXPECT_TRUE(spec.ok()) << spec.status();
  auto tokenizer = T5Tokenizer::Create(*std::move(spec));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

TEST(T5Tokenizer, Words) {
  const auto tokenizer = Make();
  EXPECT_THAT(tokenizer->Encode("ab abc", kRoom).ids, ElementsAre(5, 5, 8, 1));
  EXPECT_THAT(tokenizer->Encode("  ab \t\n abc \xC2\xA0", kRoom).ids, ElementsAre(5, 5, 8, 1)) << "spaces of any kind";
  EXPECT_THAT(tokenizer
                  ->Encode("b.\xC2\x85"
                           "bc",
                           kRoom)
                  .ids,
              ElementsAre(3, 7, 11, 3, 9, 1))
      << "U+0085";
  EXPECT_THAT(tokenizer
                  ->Encode("a\xE2\x96\x81"
                           "b",
                           kRoom)
                  .ids,
              ElementsAre(4, 3, 7, 1))
      << "the map makes it a space";
  EXPECT_THAT(tokenizer->Encode("", kRoom).ids, ElementsAre(1));
  EXPECT_THAT(tokenizer->Encode(" \n ", kRoom).ids, ElementsAre(1));
  EXPECT_EQ(tokenizer->vocab_size(), 15);
}

TEST(T5Tokenizer, ItsOwnMarkInATextBeginsAPiece) {
  auto spec = ParseT5Spiece(test::TinySpiece(test::TinyPieces(), ""), R"({"extra_ids":0})");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto tokenizer = *T5Tokenizer::Create(*std::move(spec));
  EXPECT_THAT(tokenizer
                  ->Encode("a\xE2\x96\x81"
                           "b \xE2\x96\x81"
                           "a\xE2\x96\x81\xE2\x96\x81",
                           kRoom)
                  .ids,
              ElementsAre(4, 3, 7, 4, 3, 3, 1));
}

TEST(T5Tokenizer, Normalizes) {
  const auto tokenizer = Make();
  EXPECT_THAT(tokenizer
                  ->Encode("\xEF\xBD\x81\x01"
                           "b",
                           kRoom)
                  .ids,
              ElementsAre(5, 1));
  EXPECT_THAT(tokenizer->Encode("ae\xCC\x81", kRoom).ids, ElementsAre(4, 10, 1));
  EXPECT_THAT(tokenizer->Encode("\x01", kRoom).ids, ElementsAre(1)) << "nothing is left";
}

TEST(T5Tokenizer, UnknownCharacters) {
  const auto tokenizer = Make();
  EXPECT_THAT(tokenizer->Encode("\xE4\xB8\xAD\xF0\x9F\x98\x80 z", kRoom).ids, ElementsAre(3, 2, 3, 2, 1));
  EXPECT_THAT(tokenizer->Encode("a\xFF\xC3", kRoom).ids, ElementsAre(4, 2, 1)) << "malformed bytes are U+FFFD";
  EXPECT_THAT(tokenizer->Encode(std::string("a\0b", 3), kRoom).ids, ElementsAre(4, 2, 7, 1));
}

TEST(T5Tokenizer, SpecialTokensAreFoundInTheText) {
  const auto tokenizer = Make();
  EXPECT_THAT(tokenizer->Encode("ab <extra_id_0> b", kRoom).ids, ElementsAre(5, 14, 3, 7, 1));
  EXPECT_THAT(tokenizer->Encode("ab<extra_id_1>b", kRoom).ids, ElementsAre(5, 13, 3, 7, 1)) << "what follows is a word";
  EXPECT_THAT(tokenizer->Encode("</s><pad><unk>", kRoom).ids, ElementsAre(1, 0, 2, 1));
  EXPECT_THAT(tokenizer->Encode("<extra_id_2>", kRoom).ids, ElementsAre(3, 12, 2, 6, 2, 1)) << "there are two";
  EXPECT_THAT(tokenizer->Encode("<\x01/s>", kRoom).ids, ElementsAre(3, 1, 1))
      << "they are looked for before normalization; afterwards the model finds the piece";
}

TEST(T5Tokenizer, CutsToTheRoom) {
  const auto tokenizer = Make();
  const auto cut = tokenizer->Encode("ab ab ab", 3);
  EXPECT_THAT(cut.ids, ElementsAre(5, 5, 1));
  EXPECT_TRUE(cut.truncated);
  EXPECT_FALSE(tokenizer->Encode("ab ab", 3).truncated);
  EXPECT_FALSE(tokenizer->Encode("ab ab \x01 ", 3).truncated) << "what follows is no token";
  EXPECT_THAT(tokenizer->Encode("ab<pad>", 2).ids, ElementsAre(5, 1));
  EXPECT_THAT(tokenizer->Encode("abc", 2).ids, ElementsAre(5, 1));
  EXPECT_THAT(tokenizer->Encode("ab", 1).ids, ElementsAre(1));
  EXPECT_TRUE(tokenizer->Encode("ab", 1).truncated);
  EXPECT_FALSE(tokenizer->Encode("", 1).truncated);
  EXPECT_THAT(tokenizer->Encode("ab", 0).ids, IsEmpty());
  EXPECT_TRUE(tokenizer->Encode("", 0).truncated);
  EXPECT_THAT(tokenizer->Encode("ab", -3).ids, IsEmpty());
}

TEST(T5Tokenizer, Pieces) {
  const auto tokenizer = Make();
  EXPECT_THAT(tokenizer->EncodePiece("ab c"), ElementsAre(5, 3, 8));
  EXPECT_THAT(tokenizer->EncodePiece(""), IsEmpty());
}

TEST(T5Tokenizer, Decodes) {
  const auto tokenizer = Make();
  EXPECT_EQ(tokenizer->Decode({5, 8, 11, 4, 1}), "abc. a");
  EXPECT_EQ(tokenizer->Decode({0, 14, 5, 13, 5, 2, 7}), "ab abb") << "special tokens are left out, and are not first";
  EXPECT_EQ(tokenizer->Decode({3, 3, 7}), " b") << "the first token's mark is no space";
  EXPECT_EQ(tokenizer->Decode({-1, 15, 32127, 10}), "\xC3\xA9");
  EXPECT_EQ(tokenizer->Decode({}), "");
}

TEST(T5Tokenizer, TokensOfOnesOwn) {
  const auto tokenizer = Make(R"({"extra_ids":2,"added_tokens_decoder":{
      "40":{"content":"<l>","lstrip":true,"normalized":false},"41":{"content":"\uff41c","special":false},
      "1":{"content":"</s>","special":true}}})");
  // Whatever their place there, they follow the 15 pieces in order.
  EXPECT_EQ(tokenizer->vocab_size(), 17);
  EXPECT_THAT(tokenizer->Encode("ab  <l>b", kRoom).ids, ElementsAre(5, 15, 3, 7, 1));
  EXPECT_THAT(tokenizer
                  ->Encode("b ac\xEF\xBD\x81"
                           "cb",
                           kRoom)
                  .ids,
              ElementsAre(3, 7, 16, 16, 3, 7, 1))
      << "looked for in the normalized text";
  EXPECT_EQ(tokenizer->Decode({15, 16, 5}), "<l>ac ab") << "added, but not special; and normalized";
}

TEST(T5Tokenizer, EndsWithTheTokenThatTheConfigNames) {
  EXPECT_THAT(Make(R"({"extra_ids":2,"eos_token":"<end>"})")->Encode("ab", kRoom).ids, ElementsAre(5, 15));
  EXPECT_THAT(Make(R"({"extra_ids":2,"eos_token":{"content":"<extra_id_0>"}})")->Encode("ab", kRoom).ids,
              ElementsAre(5, 14));
}

TEST(T5Tokenizer, CleansUpWhereTheConfigSaysSo) {
  EXPECT_EQ(Make()->Decode({4, 3, 11}), "a .");
  EXPECT_EQ(Make(R"({"extra_ids":2,"clean_up_tokenization_spaces":true})")->Decode({4, 3, 11}), "a.");
}

TEST(CleanUp, Spaces) {
  EXPECT_EQ(CleanUpSpaces("do n't you 've it 's , they 're ' I 'm ' ! ?"), "don't you've it's, they're'I'm '!?");
  EXPECT_EQ(CleanUpSpaces("a  . b"), "a . b") << "one space each";
  EXPECT_EQ(CleanUpSpaces(""), "");
}

// Every text that was shown stays, whatever follows: all texts of a few bytes that the rules care about.
TEST(CleanUp, NothingShownIsTakenBack) {
  const std::string letters = " 'nt.vre";
  const auto bytes = [](absl::Span<const int32_t> tokens) {
    std::string text;
    for (const int32_t token : tokens) text.push_back(static_cast<char>(token));
    return CleanUpSpaces(text);
  };
  constexpr int kLength = 6;
  size_t all = 1;
  for (int i = 0; i < kLength; ++i) all *= letters.size();
  for (size_t number = 0; number < all; ++number) {
    TextStream stream(bytes, {});
    std::vector<int32_t> tokens = {'x'};
    std::string shown;
    for (size_t rest = number, i = 0; i < kLength; ++i, rest /= letters.size()) {
      tokens.push_back(letters[rest % letters.size()]);
      shown += stream.Add(tokens);
      ASSERT_EQ(bytes(tokens).substr(0, shown.size()), shown) << number;
    }
    ASSERT_EQ(shown + stream.Finish(), bytes(tokens));
  }
}

TEST(T5Tokenizer, MoreTokensOnlyAddToTheText) {
  const auto tokenizer = Make();
  for (int32_t number = 0; number < 15 * 15 * 15 * 15; ++number) {
    std::vector<int32_t> ids;
    std::string before;
    for (int32_t rest = number, i = 0; i < 4; ++i, rest /= 15) {
      ids.push_back(rest % 15);
      const std::string text = tokenizer->Decode(ids);
      ASSERT_EQ(text.substr(0, before.size()), before);
      before = text;
    }
  }
}

// A text is read word by word until there are enough ids; one word without an end is searched in a time that grows with
// its length alone (T5Tokenizer::Append, Unigram::Encode). What is quadratic here takes minutes.
TEST(T5Tokenizer, LongTexts) {
  const auto tokenizer = Make();
  std::string words;
  for (int i = 0; i < (1 << 20) / 3; ++i) words += "ab ";
  const auto cut = tokenizer->Encode(words, kRoom);
  EXPECT_EQ(cut.ids.size(), static_cast<size_t>(kRoom));
  EXPECT_TRUE(cut.truncated);
  for (const char* part : {"a", "b", "<", "</s", "\xCC\x81", "\xE4\xB8\xAD", "\xEF\xBD\x81", "\xF0\x9F\x87\xA9"}) {
    std::string word;
    while (word.size() < 1 << 20) word += part;
    EXPECT_LE(tokenizer->Encode(word, kRoom).ids.size(), static_cast<size_t>(kRoom)) << part;
  }
}

TEST(T5Tokenizer, ThreadsShareIt) {
  const auto tokenizer = Make();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        EXPECT_EQ(tokenizer->Encode("e\xCC\x81 abc<pad>", kRoom).ids.size(), 6u);
        EXPECT_EQ(tokenizer->Decode({5, 8}), "abc");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(T5Tokenizer, APairHasAnEndBehindEachText) {
  const auto tokenizer = Make();
  EXPECT_THAT(tokenizer->EncodePair("ab", "ab abc", kRoom).ids, ElementsAre(5, 1, 5, 5, 8, 1));
  const Encoding cut = tokenizer->EncodePair("ab", "ab abc", 4);
  EXPECT_THAT(cut.ids, ElementsAre(5, 1, 5, 1));
  EXPECT_TRUE(cut.truncated);
  EXPECT_EQ(cut.second_type, kNoPlace);
  EXPECT_THAT(tokenizer->EncodePair("ab", "ab", 1).ids, ElementsAre(1));
}

}  // namespace
}  // namespace tenon::engine
