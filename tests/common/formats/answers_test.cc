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

TEST(NormalizeAnswer, SignsThatMakeAnotherAnswerStay) {
  for (const char* const answer : {"$5", "+", "-1", "c#", "c++", "100%", "@home", "#1", "a/b", "*"}) {
    EXPECT_EQ(NormalizeAnswer(answer), answer);
  }
  EXPECT_EQ(NormalizeAnswer("\"-1\"."), "-1");
}

TEST(NormalizeAnswer, AFormIsAsGoodAsAnother) {
  EXPECT_EQ(NormalizeAnswer("m\u00b2"), "m2") << "what T5 can write of it";
  EXPECT_EQ(NormalizeAnswer("\uff21\uff22\uff23"), "abc") << "wide letters";
  EXPECT_EQ(NormalizeAnswer("e\u0301t\u00e9"), NormalizeAnswer("\u00e9te\u0301"));
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
