#include "worker/engine/summarize/scorer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"

namespace tenon::engine {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

const std::vector<std::string> kSentences = {"One.", "Two.", "Three.", "Four."};

const std::string kSeparator = "[SEP]";

bool Never() { return false; }

TEST(ScorerRow, EachSentenceStandsInItsContext) {
  EXPECT_EQ(ScorerRow(kSentences, 0, {.neighbours = 1}, kSeparator), "One. [SEP] 1 of 4 [SEP]  [SEP] Two.");
  EXPECT_EQ(ScorerRow(kSentences, 1, {.neighbours = 1}, kSeparator), "Two. [SEP] 2 of 4 [SEP] One. [SEP] Three.");
  EXPECT_EQ(ScorerRow(kSentences, 3, {.neighbours = 1}, kSeparator), "Four. [SEP] 4 of 4 [SEP] Three. [SEP] ");
  EXPECT_EQ(ScorerRow(kSentences, 1, {.neighbours = 9}, kSeparator), "Two. [SEP] 2 of 4 [SEP] One. [SEP] Three. Four.");
  EXPECT_EQ(ScorerRow(kSentences, 2, {.neighbours = 0}, kSeparator), "Three. [SEP] 3 of 4");
}

TEST(ScorerRow, TheSeparatorIsTheTokenizers) {
  EXPECT_EQ(ScorerRow(kSentences, 0, {.neighbours = 1}, "</s>"), "One. </s> 1 of 4 </s>  </s> Two.");
  EXPECT_EQ(ScorerRow(kSentences, 0, {.neighbours = 0}, ""), "One. 1 of 4");
}

TEST(MakeScorerTraining, TheOraclesSentencesAreToBeExtracted) {
  const auto splitter = SentenceSplitter::Make();
  ASSERT_TRUE(splitter.ok());
  ScorerData data;
  data.train = {{"The cat sat. It rained all day. Dogs barked at night.", "the cat sat, and dogs barked at night"},
                {"Nothing here. Nor there.", "unlike words alone"}};
  data.validation = {{"One fish swam. Two birds flew.", "two birds flew"}};
  data.scorer = {.neighbours = 1};
  const auto made = MakeScorerTraining(data, *splitter, kSeparator, Never);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->data.labels, ScorerLabels());
  EXPECT_FALSE(made->data.multi_label);
  EXPECT_EQ(made->data.sentence_scorer, data.scorer);
  ASSERT_THAT(made->data.train, SizeIs(3)) << "the second text says nothing of its summary";
  EXPECT_EQ(made->data.train[0].text, "The cat sat. [SEP] 1 of 3 [SEP]  [SEP] It rained all day.");
  EXPECT_THAT(made->data.train[0].labels, ElementsAre(kExtractLabel));
  EXPECT_THAT(made->data.train[1].labels, ElementsAre(1 - kExtractLabel));
  EXPECT_THAT(made->data.train[2].labels, ElementsAre(kExtractLabel));
  ASSERT_THAT(made->data.validation, SizeIs(2));
  EXPECT_THAT(made->data.validation[1].labels, ElementsAre(kExtractLabel));
}

TEST(MakeScorerTraining, TextsThatTeachNothingAreLeftOutAndCounted) {
  const auto splitter = SentenceSplitter::Make();
  ASSERT_TRUE(splitter.ok());
  ScorerData data;
  data.train = {{"A text.", "a text"}, {"\u00a0", "a text"}, {"Another.", "no word of it"}};
  data.validation = {{"One. Two.", "two"}};
  const auto made = MakeScorerTraining(data, *splitter, kSeparator, Never);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(made->data.train, SizeIs(1));
  EXPECT_EQ(
      made->notice,
      "2 of 4 texts teach nothing, as none of their sentences has a word of the summary: train row 2, train row 3");
  data.train.resize(1);
  EXPECT_EQ(MakeScorerTraining(data, *splitter, kSeparator, Never)->notice, "");
  EXPECT_EQ(GetReason(MakeScorerTraining(data, *splitter, kSeparator, [] { return true; }).status()),
            Reason::kCancelled);
}

TEST(MakeScorerTraining, TextsOfAnyScript) {
  const auto splitter = SentenceSplitter::Make();
  ASSERT_TRUE(splitter.ok());
  ScorerData data;
  data.train = {{"Кот спит. Идёт дождь.", "кот СПИТ"}, {"猫が寝る。雨が降る。", "雨降る"}};
  const auto made = MakeScorerTraining(data, *splitter, kSeparator, Never);
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_THAT(made->data.train, SizeIs(4));
  EXPECT_THAT(made->data.train[0].labels, ElementsAre(kExtractLabel));
  EXPECT_THAT(made->data.train[1].labels, ElementsAre(1 - kExtractLabel));
  EXPECT_THAT(made->data.train[3].labels, ElementsAre(kExtractLabel));
}

TEST(MakeScorerTraining, RowsAreBounded) {
  const auto splitter = SentenceSplitter::Make();
  ASSERT_TRUE(splitter.ok());
  ScorerData data;
  data.train = {{"One two. Three four.", "one"}, {"Five six. Seven eight.", "five"}};
  data.scorer = {.neighbours = 1};
  data.max_row_bytes = 120;
  const absl::Status status = MakeScorerTraining(data, *splitter, kSeparator, Never).status();
  EXPECT_EQ(GetReason(status), Reason::kTooLarge) << status;
  EXPECT_EQ(GetField(status), "neighbours");
  EXPECT_THAT(std::string(status.message()), testing::StartsWith("train row 2: "));
  data.max_row_bytes = 1000;
  EXPECT_TRUE(MakeScorerTraining(data, *splitter, kSeparator, Never).ok());
}

TEST(MakeScorerTraining, AVeryLongTextIsReadAsFarAsServingReadsIt) {
  const auto splitter = SentenceSplitter::Make();
  ASSERT_TRUE(splitter.ok());
  ScorerData data;
  data.train.resize(1);
  for (size_t i = 0; i < kMaxScoredSentences + 3; ++i) data.train[0].input += "A word. ";
  data.train[0].target = "a word";
  data.scorer = {.neighbours = 0};
  const auto made = MakeScorerTraining(data, *splitter, kSeparator, Never);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(made->data.train, SizeIs(kMaxScoredSentences));
}

TEST(MakeScorerTraining, SummariesOfOtherWordsTeachNothing) {
  const auto splitter = SentenceSplitter::Make();
  ASSERT_TRUE(splitter.ok());
  ScorerData data;
  data.train = {{"One. Two.", "three"}, {"One. Two.", "two"}};
  data.validation = {{"One. Two.", "three"}};
  const absl::Status status = MakeScorerTraining(data, *splitter, kSeparator, Never).status();
  EXPECT_EQ(GetReason(status), Reason::kDatasetInvalid) << status;
  EXPECT_EQ(GetField(status), "validation");
  data.validation.clear();
  EXPECT_EQ(MakeScorerTraining(data, *splitter, kSeparator, Never)->data.train.size(), 2u);
  data.train.pop_back();
  EXPECT_EQ(GetField(MakeScorerTraining(data, *splitter, kSeparator, Never).status()), "train");
}

}  // namespace
}  // namespace tenon::engine
