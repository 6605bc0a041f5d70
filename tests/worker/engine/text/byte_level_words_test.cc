#include "worker/engine/text/byte_level_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "worker/engine/text/byte_level_alphabet.h"
#include "worker/engine/text/unicode.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p != end;) {
    const size_t bytes = WordBytes(p, end);
    EXPECT_GT(bytes, 0u);
    words.emplace_back(p, bytes);
    p += bytes;
  }
  return words;
}

TEST(ByteLevelWords, LettersNumbersAndSigns) {
  EXPECT_THAT(Words("ab 12 c3!? d"), ElementsAre("ab", " 12", " c", "3", "!?", " d"));
  EXPECT_THAT(Words("\xC3\xA9\xE4\xB8\xAD\xD9\xA3\xC2\xBD"), ElementsAre("\xC3\xA9\xE4\xB8\xAD", "\xD9\xA3\xC2\xBD"))
      << "of any script";
  EXPECT_THAT(Words("e\xCC\x81x"), ElementsAre("e", "\xCC\x81", "x")) << "a mark is no letter";
  EXPECT_THAT(Words(" \xF0\x9F\x98\x80."), ElementsAre(" \xF0\x9F\x98\x80."));
}

TEST(ByteLevelWords, Contractions) {
  EXPECT_THAT(Words("it's we're I'LL"), ElementsAre("it", "'s", " we", "'re", " I", "'", "LL"));
  EXPECT_THAT(Words("'sn't"), ElementsAre("'s", "n", "'t"));
  EXPECT_THAT(Words(" 's ''s"), ElementsAre(" '", "s", " ''", "s")) << "only where a word begins";
  EXPECT_THAT(Words("'t've'm'll'dx"), ElementsAre("'t", "'ve", "'m", "'ll", "'d", "x"));
  EXPECT_THAT(Words("'r'"), ElementsAre("'", "r", "'"));
}

TEST(ByteLevelWords, TheLastSpaceGoesWithTheWord) {
  EXPECT_THAT(Words("a  b"), ElementsAre("a", " ", " b"));
  EXPECT_THAT(Words("a\n\nb"), ElementsAre("a", "\n", "\n", "b"));
  EXPECT_THAT(Words("a \n b"), ElementsAre("a", " \n", " b"));
  EXPECT_THAT(Words("a\nb"), ElementsAre("a", "\n", "b"));
  EXPECT_THAT(Words("a  "), ElementsAre("a", "  "));
  EXPECT_THAT(Words("a "), ElementsAre("a", " "));
  EXPECT_THAT(Words("\xC2\xA0\xE3\x80\x80!"), ElementsAre("\xC2\xA0", "\xE3\x80\x80", "!"));
  EXPECT_THAT(Words("\xE2\x80\x8B"), ElementsAre("\xE2\x80\x8B")) << "U+200B is no white space";
}

TEST(ByteLevelWords, LongRunsTakeTheirLengthInTime) {
  const std::string spaces(1 << 20, ' ');
  EXPECT_THAT(Words(spaces + "a"), ElementsAre(std::string((1 << 20) - 1, ' '), " a"));
  EXPECT_EQ(Words(std::string(1 << 20, 'a')).size(), 1u);
}

TEST(Unicode, LettersAndNumbersOfUnicode16) {
  EXPECT_TRUE(IsLetter('a') && IsLetter(0x4E2D) && IsLetter(0x2BA) && IsLetter(0xAA));
  EXPECT_TRUE(IsNumber('7') && IsNumber(0x2167) && IsNumber(0xBD));
  EXPECT_FALSE(IsLetter('7') || IsLetter(0x301) || IsNumber('a') || IsLetter(0xE000));
  EXPECT_TRUE(IsLetter(0x2EBF0) && IsLetter(0x2EE5D) && !IsLetter(0x2EE5E) && IsLetter(0x1C89)) << "since 15.0";
  EXPECT_TRUE(IsNumber(0x10D40) && !IsLetter(0x10D40));
  EXPECT_FALSE(IsLetter(0xA7CE)) << "of 17.0";
}

TEST(ByteLevelAlphabet, EachByteHasItsCharacter) {
  EXPECT_EQ(ToByteCharacters("a \n"), "a\xC4\xA0\xC4\x8A");
  EXPECT_EQ(ToByteCharacters("\xAD\x7F\xFF"), "\xC5\x83\xC4\xA1\xC3\xBF");
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  EXPECT_EQ(FromByteCharacters(ToByteCharacters(all)), all);
  EXPECT_EQ(FromByteCharacters("a b"), std::nullopt) << "a space is not of the alphabet";
  EXPECT_EQ(FromByteCharacters("\xE4\xB8\xAD"), std::nullopt);
}

TEST(ByteLevelAlphabet, BytesThatAreNoText) {
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(TextOfBytes("a\xE4\xB8\xAD\xF0\x9F\x98\x80"), "a\xE4\xB8\xAD\xF0\x9F\x98\x80");
  EXPECT_EQ(TextOfBytes("\xE4\xB8"), mark) << "the beginning of a character is one mark";
  EXPECT_EQ(TextOfBytes("\xF0\x9F\x98z"), mark + "z");
  EXPECT_EQ(TextOfBytes("\xE4\xE4\xB8\xAD"), mark + "\xE4\xB8\xAD");
  EXPECT_EQ(TextOfBytes("\xED\xA0\x80"), mark + mark + mark) << "a surrogate";
  EXPECT_EQ(TextOfBytes("\xC0\x80\xF5\x80\xFF"), mark + mark + mark + mark + mark);
  EXPECT_EQ(TextOfBytes("\xF0\x80\x80\x80"), mark + mark + mark + mark) << "overlong";
  EXPECT_EQ(TextOfBytes("\xF4\x90\x80"), mark + mark + mark) << "above U+10FFFF";
  EXPECT_EQ(TextOfBytes(""), "");
}

}  // namespace
}  // namespace tenon::engine
