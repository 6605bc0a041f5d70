#include "worker/engine/summarize/scorer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"

namespace tenon::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const std::vector<std::string> kSentences = {"One.", "Two.", "Three.", "Four."};

const std::string kSeparator = "[SEP]";

bool Never() { return false; }

TEST(ScorerRows, EachSentenceStandsInItsContext) {
  EXPECT_THAT(ScorerRows(kSentences, {.neighbours = 1}, kSeparator),
              ElementsAre("One. [SEP] 1 of 4 [SEP]  [SEP] Two.", "Two. [SEP] 2 of 4 [SEP] One. [SEP] Three.",
                          "Three. [SEP] 3 of 4 [SEP] Two. [SEP] Four.", "Four. [SEP] 4 of 4 [SEP] Three. [SEP] "));
  EXPECT_EQ(ScorerRows(kSentences, {.neighbours = 9}, kSeparator)[1],
            "Two. [SEP] 2 of 4 [SEP] One. [SEP] Three. Four.");
  EXPECT_EQ(ScorerRows(kSentences, {.neighbours = 0}, kSeparator)[2], "Three. [SEP] 3 of 4");
  EXPECT_THAT(ScorerRows({}, {}, kSeparator), IsEmpty());
}

TEST(ScorerRows, TheSeparatorIsTheTokenizers) {
  EXPECT_EQ(ScorerRows(kSentences, {.neighbours = 1}, "</s>")[0], "One. </s> 1 of 4 </s>  </s> Two.");
  EXPECT_EQ(ScorerRows(kSentences, {.neighbours = 0}, "")[0], "One. 1 of 4");
}

TEST(ScorerTrainData, TheOraclesSentencesAreToBeExtracted) {
  const auto splitter = SentenceSplitter::Make();
  ASSERT_TRUE(splitter.ok());
  ScorerData data;
  data.train = {{"The cat sat. It rained all day. Dogs barked at night.", "the cat sat, and dogs barked at night"},
                {"Nothing here. Nor there.", "unlike words alone"}};
  data.validation = {{"One fish swam. Two birds flew.", "two birds flew"}};
  data.scorer = {.neighbours = 1};
  const auto made = ScorerTrainData(data, *splitter, kSeparator, Never);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->labels, ScorerLabels());
  EXPECT_FALSE(made->multi_label);
  EXPECT_EQ(made->sentence_scorer, data.scorer);
  ASSERT_THAT(made->train, SizeIs(3)) << "the second text says nothing of its summary";
  EXPECT_EQ(made->train[0].text, "The cat sat. [SEP] 1 of 3 [SEP]  [SEP] It rained all day.");
  EXPECT_THAT(made->train[0].labels, ElementsAre(kExtractLabel));
  EXPECT_THAT(made->train[1].labels, ElementsAre(1 - kExtractLabel));
  EXPECT_THAT(made->train[2].labels, ElementsAre(kExtractLabel));
  ASSERT_THAT(made->validation, SizeIs(2));
  EXPECT_THAT(made->validation[1].labels, ElementsAre(kExtractLabel));
}

TEST(ScorerTrainData, ATextWithoutASentenceIsNamed) {
  const auto splitter = SentenceSplitter::Make();
  ASSERT_TRUE(splitter.ok());
  ScorerData data;
  data.train = {{"A text.", "a text"}, {" \n", "a text"}};
  const auto made = ScorerTrainData(data, *splitter, kSeparator, Never);
  EXPECT_EQ(GetReason(made.status()), Reason::kDatasetInvalid);
  EXPECT_EQ(GetField(made.status()), "train row 2");
  EXPECT_EQ(GetReason(ScorerTrainData(data, *splitter, kSeparator, [] { return true; }).status()), Reason::kCancelled);
}

TEST(ScorerTrainData, RowsAreBounded) {
  const auto splitter = SentenceSplitter::Make();
  ASSERT_TRUE(splitter.ok());
  ScorerData data;
  data.train = {{"One two. Three four.", "one"}, {"Five six. Seven eight.", "five"}};
  data.scorer = {.neighbours = 1};
  data.max_row_bytes = 120;
  const absl::Status status = ScorerTrainData(data, *splitter, kSeparator, Never).status();
  EXPECT_EQ(GetReason(status), Reason::kTooLarge) << status;
  EXPECT_EQ(GetField(status), "neighbours");
  EXPECT_THAT(std::string(status.message()), testing::StartsWith("train row 2: "));
  data.max_row_bytes = 1000;
  EXPECT_TRUE(ScorerTrainData(data, *splitter, kSeparator, Never).ok());
}

TEST(ScorerTrainData, AVeryLongTextIsReadAsFarAsServingReadsIt) {
  const auto splitter = SentenceSplitter::Make();
  ASSERT_TRUE(splitter.ok());
  ScorerData data;
  data.train.resize(1);
  for (size_t i = 0; i < kMaxScoredSentences + 3; ++i) data.train[0].input += "A word. ";
  data.train[0].target = "a word";
  data.scorer = {.neighbours = 0};
  const auto made = ScorerTrainData(data, *splitter, kSeparator, Never);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(made->train, SizeIs(kMaxScoredSentences));
}

TEST(ScorerTrainData, SummariesOfOtherWordsTeachNothing) {
  const auto splitter = SentenceSplitter::Make();
  ASSERT_TRUE(splitter.ok());
  ScorerData data;
  data.train = {{"One. Two.", "three"}, {"One. Two.", "two"}};
  data.validation = {{"One. Two.", "three"}};
  const absl::Status status = ScorerTrainData(data, *splitter, kSeparator, Never).status();
  EXPECT_EQ(GetReason(status), Reason::kDatasetInvalid) << status;
  EXPECT_EQ(GetField(status), "validation");
  data.validation.clear();
  EXPECT_EQ(ScorerTrainData(data, *splitter, kSeparator, Never)->train.size(), 2u);
  data.train.pop_back();
  EXPECT_EQ(GetField(ScorerTrainData(data, *splitter, kSeparator, Never).status()), "train");
}

}  // namespace
}  // namespace tenon::engine
