#include "common/formats/answers.h"

#include <gtest/gtest.h>

namespace tenon::formats {
namespace {

TEST(NormalizeAnswer, CaseOuterPunctuationAndSpacesDoNotCount) {
  EXPECT_EQ(NormalizeAnswer(" \"Sports\".\n"), "sports");
  EXPECT_EQ(NormalizeAnswer("World \t  NEWS!"), "world news");
  EXPECT_EQ(NormalizeAnswer("( not: really )"), "not: really") << "punctuation inside stays";
  EXPECT_EQ(NormalizeAnswer("sci/tech"), "sci/tech");
}

TEST(NormalizeAnswer, LettersOfAllScriptsHaveTheirLowerCase) {
  EXPECT_EQ(NormalizeAnswer("«ÉTÉ»"), "été");
  EXPECT_EQ(NormalizeAnswer("ΣΊΣΥΦΟΣ"), "σίσυφος") << "the last sigma has its own form";
  EXPECT_EQ(NormalizeAnswer("TITLE"), "title") << "of no language: not Turkish";
  EXPECT_EQ(NormalizeAnswer("。はい　いいえ！"), "はい いいえ") << "wide blanks and full stops are such, too";
}

TEST(NormalizeAnswer, SignsThatAreNoPunctuationStay) {
  EXPECT_EQ(NormalizeAnswer("$5"), "$5");
  EXPECT_EQ(NormalizeAnswer("+"), "+");
}

TEST(NormalizeAnswer, PunctuationAloneIsAnAnswer) {
  EXPECT_EQ(NormalizeAnswer(" ?! "), "?!");
  EXPECT_EQ(NormalizeAnswer("- -"), "- -");
  EXPECT_NE(NormalizeAnswer("?"), NormalizeAnswer("!"));
  EXPECT_EQ(NormalizeAnswer(" \n"), "");
  EXPECT_EQ(NormalizeAnswer(""), "");
}

TEST(NormalizeAnswer, BrokenBytesHarmNobodyElse) {
  const std::string normalized = NormalizeAnswer("\xff A B\xc3");
  EXPECT_NE(normalized.find(" a b"), std::string::npos) << normalized;
}

}  // namespace
}  // namespace tenon::formats
