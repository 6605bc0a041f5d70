#include "worker/engine/evaluate/rouge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/engine/evaluate/lcs.h"
#include "worker/engine/evaluate/porter_stemmer.h"

namespace tenon::engine {
namespace {

using testing::ElementsAre;

void ExpectScore(const RougeScore& score, double precision, double recall, double f1) {
  EXPECT_NEAR(score.precision, precision, 1e-9);
  EXPECT_NEAR(score.recall, recall, 1e-9);
  EXPECT_NEAR(score.f1, f1, 1e-9);
}

TEST(RougeTokens, AreRunsOfAsciiLettersAndDigits) {
  EXPECT_THAT(RougeTokens("The café's 2nd-best, at 9!", {}), ElementsAre("the", "caf", "s", "2nd", "best", "at", "9"));
  EXPECT_THAT(RougeTokens("中文 \n é", {}), ElementsAre());
  // Letters whose lower case is ASCII: the Kelvin sign, and the dotted I, whose dot then parts the word.
  EXPECT_THAT(RougeTokens("5\u212A\u0130stanbul", {}), ElementsAre("5ki", "stanbul"));
}

TEST(RougeTokens, AreStemmedFromFourLettersOn) {
  EXPECT_THAT(RougeTokens("dies says flying are", {.use_stemmer = true}), ElementsAre("die", "say", "fli", "are"));
}

TEST(PorterStem, DepartsFromThePaperAsNltkDoes) {
  const std::pair<const char*, const char*> kStems[] = {{"news", "news"},
                                                        {"says", "say"},
                                                        {"enjoy", "enjoy"},
                                                        {"skies", "sky"},
                                                        {"hopefully", "hope"},
                                                        {"innings", "inning"},
                                                        {"used", "use"},
                                                        {"playing", "play"},
                                                        {"dying", "die"},
                                                        {"dies", "die"},
                                                        {"succeed", "succeed"},
                                                        {"traditionally", "tradit"},
                                                        {"archaeology", "archaeolog"},
                                                        {"possibly", "possibl"}};
  for (const auto& [word, stem] : kStems) EXPECT_EQ(PorterStem(word), stem);
}

TEST(PorterStem, TakesTimeInProportionToTheWord) {
  // Runs of y are vowels and consonants in turn: each letter depends on all before it.
  EXPECT_EQ(PorterStem(std::string(2'000'000, 'y')).size(), 2'000'000u);
}

TEST(Rouge, CountsNGramsAsOftenAsBothTextsHaveThem) {
  ExpectScore(ScoreRouge("testing one two", "testing", {}).rouge1, 1, 1.0 / 3, 0.5);
  ExpectScore(ScoreRouge("testing one two", "testing one", {}).rouge2, 1, 0.5, 2.0 / 3);
  ExpectScore(ScoreRouge("a a b", "a a a", {}).rouge1, 2.0 / 3, 2.0 / 3, 2.0 / 3);
}

TEST(Rouge, LongestCommonSubsequenceOfTheWholeText) {
  ExpectScore(ScoreRouge("testing one two", "testing two", {}).rouge_l, 1, 2.0 / 3, 0.8);
  ExpectScore(ScoreRouge("one\ntwo three", "one two\nthree", {}).rouge_l, 1, 1, 1);
}

TEST(Rouge, UnionOfLinesForLsum) {
  ExpectScore(ScoreRouge("w1 w2 w3 w4 w5", "w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", {}).rouge_lsum, 0.4, 0.8, 1.6 / 3);
  // The second line's `a` was taken by the first.
  ExpectScore(ScoreRouge("a\na", "a", {}).rouge_lsum, 1, 0.5, 2.0 / 3);
}

TEST(Rouge, NothingInCommonIsZero) {
  for (const char* empty : {"", "/", "\n", "é"}) {
    const RougeScores scores = ScoreRouge("testing one two", empty, {});
    for (const RougeScore& score : {scores.rouge1, scores.rouge2, scores.rouge_l, scores.rouge_lsum})
      ExpectScore(score, 0, 0, 0);
    ExpectScore(ScoreRouge(empty, "testing one two", {}).rouge_lsum, 0, 0, 0);
  }
}

TEST(Rouge, TheBestReferenceOfEachKind) {
  const RougeScores best = ScoreRouge(std::vector<std::string>{"b a", "a x y z b"}, "a b", {});
  ExpectScore(best.rouge1, 1, 1, 1);
  ExpectScore(best.rouge_l, 1, 0.4, 0.8 / 1.4);
  ExpectScore(ScoreRouge(std::vector<std::string>{}, "a b", {}).rouge1, 0, 0, 0);
}

// The whole table, cell by cell.
int64_t PlainLcs(const TokenIds& a, const TokenIds& b) {
  std::vector<std::vector<int64_t>> table(a.size() + 1, std::vector<int64_t>(b.size() + 1));
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      table[i][j] = a[i - 1] == b[j - 1] ? table[i - 1][j - 1] + 1 : std::max(table[i - 1][j], table[i][j - 1]);
    }
  }
  return table[a.size()][b.size()];
}

TEST(Lcs, IsThatOfThePlainTableAtEveryLength) {
  uint32_t state = 1;
  const auto draw = [&](size_t length) {
    TokenIds ids;
    for (size_t i = 0; i < length; ++i)
      ids.push_back(static_cast<int32_t>((state = state * 1664525 + 1013904223) >> 29));
    return ids;
  };
  for (const size_t a : {0, 1, 5, 63, 64, 65, 128, 200}) {
    for (const size_t b : {0, 1, 64, 130}) {
      const TokenIds rows = draw(a), columns = draw(b);
      EXPECT_EQ(LcsLength(rows, columns), PlainLcs(rows, columns)) << a << " " << b;
      std::vector<bool> used(a);
      MarkLcs(rows, columns, &used);
      EXPECT_EQ(std::count(used.begin(), used.end(), true), PlainLcs(rows, columns)) << a << " " << b;
    }
  }
}

}  // namespace
}  // namespace tenon::engine
