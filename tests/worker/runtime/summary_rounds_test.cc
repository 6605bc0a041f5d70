#include "worker/runtime/summary_rounds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tenon::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SummaryRoundsTest : public ::testing::Test {
 protected:
  // A token a word, and two around them.
  static int64_t Count(const std::string& text) {
    const std::vector<std::string> words = absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
    return static_cast<int64_t>(words.size()) + 2;
  }
  SummaryRounds Make(const std::string& text, int64_t max_tokens, bool combine = true) {
    return SummaryRounds(text, {.max_tokens = max_tokens, .combine = combine}, Count, &splitter_);
  }
  engine::SentenceSplitter splitter_ = *engine::SentenceSplitter::Make();
};

TEST_F(SummaryRoundsTest, WhatFitsIsSummarizedOnce) {
  SummaryRounds rounds = Make("One two three. Four five.", 7);
  EXPECT_THAT(rounds.Next(), ElementsAre("One two three. Four five."));
  rounds.Take({"Three."});
  EXPECT_THAT(rounds.Next(), IsEmpty());
  EXPECT_EQ(rounds.summary(), "Three.");
}

TEST_F(SummaryRoundsTest, WithoutChunksTheWholeTextIsGiven) {
  const std::string text = "One two three. Four five six. Seven eight nine.";
  SummaryRounds rounds = Make(text, 5, false);
  EXPECT_THAT(rounds.Next(), ElementsAre(text));
  rounds.Take({"a b c d e f"});
  EXPECT_THAT(rounds.Next(), IsEmpty());
}

TEST_F(SummaryRoundsTest, ALongTextIsCutBetweenSentencesAndItsSummariesAreSummarized) {
  SummaryRounds rounds = Make("One two three. Four five. Six seven eight. Nine ten.", 7);
  EXPECT_THAT(rounds.Next(), ElementsAre("One two three. Four five.", "Six seven eight. Nine ten."));
  rounds.Take({"Three five.", "Eight ten."});
  EXPECT_THAT(rounds.Next(), ElementsAre("Three five.\nEight ten."));
  rounds.Take({"All."});
  EXPECT_THAT(rounds.Next(), IsEmpty());
  EXPECT_EQ(rounds.summary(), "All.");
}

TEST_F(SummaryRoundsTest, GoesOnUntilTheSummariesFit) {
  std::string text;
  for (int i = 0; i < 32; ++i) absl::StrAppend(&text, i == 0 ? "" : " ", "Word number ", i, " here.");
  SummaryRounds rounds = Make(text, 10);  // two sentences
  std::vector<size_t> pieces;
  for (auto next = rounds.Next(); !next.empty(); next = rounds.Next()) {
    pieces.push_back(next.size());
    rounds.Take(std::vector<std::string>(next.size(), "One two three."));
  }
  EXPECT_THAT(pieces, ElementsAre(16, 8, 4, 2, 1));
}

TEST_F(SummaryRoundsTest, ARoundThatDoesNotShrinkIsTheLast) {
  SummaryRounds rounds = Make("One two three. Four five. Six seven eight. Nine ten.", 7);
  ASSERT_EQ(rounds.Next().size(), 2u);
  rounds.Take({"One two three four five six.", "Seven eight nine ten eleven."});
  EXPECT_THAT(rounds.Next(), ElementsAre("One two three four five six.\nSeven eight nine ten eleven."));
  rounds.Take({"Cut."});
  EXPECT_THAT(rounds.Next(), IsEmpty());
}

TEST_F(SummaryRoundsTest, EndsAfterItsRounds) {
  std::string text;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&text, "Word number ", i, ". ");
  SummaryRounds rounds = Make(text, 8);
  int round = 0;
  for (auto next = rounds.Next(); !next.empty(); next = rounds.Next()) {
    ASSERT_LE(++round, SummaryRounds::kMaxRounds + 1);
    // Each round a little shorter.
    std::vector<std::string> summaries(next.begin(), next.end());
    summaries.back() = "";
    rounds.Take(summaries);
  }
  EXPECT_EQ(round, SummaryRounds::kMaxRounds + 1);
}

TEST_F(SummaryRoundsTest, ASentenceLongerThanTheModelReadsIsAPieceOfItsOwn) {
  SummaryRounds rounds = Make("One. Two three four five six seven. Eight.", 5);
  EXPECT_THAT(rounds.Next(), ElementsAre("One.", "Two three four five six seven.", "Eight."));
  SummaryRounds endless = Make("one two three four five six seven", 5);
  EXPECT_THAT(endless.Next(), ElementsAre("one two three four five six seven"));
  endless.Take({"x"});
  EXPECT_THAT(endless.Next(), IsEmpty());
}

TEST_F(SummaryRoundsTest, NothingWrittenIsTheEnd) {
  SummaryRounds rounds = Make("One two three. Four five. Six seven eight.", 7);
  ASSERT_EQ(rounds.Next().size(), 2u);
  rounds.Take({"", ""});
  EXPECT_THAT(rounds.Next(), IsEmpty());
}

// Tokens that are fewer apart than together.
TEST_F(SummaryRoundsTest, PiecesFitTogetherNotOnlyBySentence) {
  const auto count = [](const std::string& text) {
    return text.empty() ? int64_t{0} : static_cast<int64_t>(1 + text.size() / 10 * 3);
  };
  SummaryRounds rounds("Aaaa bbb. Cccc ddd. Eeee fff. Gggg hhh.", {.max_tokens = 4, .combine = true}, count,
                       &splitter_);
  for (const std::string& piece : rounds.Next()) EXPECT_LE(count(piece), 4) << piece;
}

}  // namespace
}  // namespace tenon::runtime
