#include "worker/engine/summarize/extractive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/formats/status.h"

namespace tenon::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Three sentences that say nearly one thing, one of another kind, and one in between that is nearest to the mean.
const std::vector<float> kEmbeddings = {1, 0.1f, 0, 1, 0.2f, 0, 1, 0, 0, 0, 1, 0, 0.9f, 0.6f, 0};
const std::vector<int64_t> kWords = {5, 6, 7, 8, 9};

TEST(Extract, CentroidTakesWhatIsNearestToTheMean) {
  EXPECT_THAT(*ExtractSentences(kEmbeddings, kWords, {.max_sentences = 1}), ElementsAre(4));
  EXPECT_THAT(*ExtractSentences(kEmbeddings, kWords, {.max_sentences = 3}), ElementsAre(0, 1, 4));
}

TEST(Extract, MmrDoesNotSayTheSameTwice) {
  // By hand: relevances are .94, .97, .90, .44, .99; likenesses to sentence 4 are .88, .93, .83, .55.
  EXPECT_THAT(*ExtractSentences(kEmbeddings, kWords, {.max_sentences = 2, .lambda = 0.5}), ElementsAre(2, 4));
  EXPECT_THAT(*ExtractSentences(kEmbeddings, kWords, {.max_sentences = 2, .lambda = 0.3}), ElementsAre(3, 4));
}

TEST(Extract, LengthOfAnEmbeddingDoesNotMatter) {
  std::vector<float> longer = kEmbeddings;
  for (size_t i = 9; i < 12; ++i) longer[i] *= 1000;
  EXPECT_EQ(*ExtractSentences(longer, kWords, {.lambda = 0.7}),
            *ExtractSentences(kEmbeddings, kWords, {.lambda = 0.7}));
}

TEST(Extract, WordsAreLimited) {
  // Behind 9 words 6 are left: the second best has 6, the third 5.
  EXPECT_THAT(*ExtractSentences(kEmbeddings, kWords, {.max_sentences = 5, .max_words = 15}), ElementsAre(1, 4));
  EXPECT_THAT(*ExtractSentences(kEmbeddings, kWords, {.max_sentences = 5, .max_words = 14}), ElementsAre(0, 4));
  // Too long alone, but better than nothing.
  EXPECT_THAT(*ExtractSentences(kEmbeddings, kWords, {.max_sentences = 5, .max_words = 1}), ElementsAre(4));
}

TEST(Extract, EqualScoresGoToTheEarlier) {
  EXPECT_THAT(*ExtractSentences({1, 0, 1, 0, 1, 0}, {1, 1, 1}, {.max_sentences = 2}), ElementsAre(0, 1));
  // Opposites have no mean: all relevances are 0.
  EXPECT_THAT(*ExtractSentences({1, 0, -1, 0}, {1, 1}, {.max_sentences = 1}), ElementsAre(0));
  EXPECT_THAT(*ExtractSentences({0, 0, 0, 0}, {1, 1}, {.max_sentences = 5, .lambda = 0.3}), ElementsAre(0, 1));
}

TEST(Extract, ScoredSentencesAreTheBestInTheTextsOrder) {
  EXPECT_THAT(*ScoredSentences({0.1f, 0.9f, -2, 0.4f, 0.9f}, kWords, {.max_sentences = 2}), ElementsAre(1, 4));
  EXPECT_THAT(*ScoredSentences({0.1f, 0.9f, -2, 0.4f, 0.9f}, kWords, {.max_sentences = 1}), ElementsAre(1));
  // Of 5, 6, 7, 8 and 9 words: behind the best 8 are left, which the second does not fit into.
  EXPECT_THAT(*ScoredSentences({3, 5, 1, 2, 4}, kWords, {.max_sentences = 3, .max_words = 14}), ElementsAre(0, 1));
  EXPECT_THAT(*ScoredSentences({}, {}, {}), IsEmpty());
  EXPECT_EQ(GetReason(ScoredSentences({1}, {1}, {.max_sentences = 0}).status()), Reason::kOptionInvalid);
  EXPECT_EQ(ScoredSentences({1, 2}, {1}, {}).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ScoredSentences({std::nanf("")}, {1}, {}).status().code(), absl::StatusCode::kInternal);
}

TEST(Extract, RefusesWhatCannotBe) {
  EXPECT_THAT(*ExtractSentences({}, {}, {}), IsEmpty());
  for (const ExtractOptions& wrong : {ExtractOptions{.max_sentences = 0}, ExtractOptions{.max_words = -1},
                                      ExtractOptions{.lambda = 1.1}, ExtractOptions{.lambda = std::nan("")}}) {
    EXPECT_EQ(GetReason(ExtractSentences(kEmbeddings, kWords, wrong).status()), Reason::kOptionInvalid);
  }
  EXPECT_EQ(ExtractSentences({1, 2, 3}, {1, 1}, {}).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ExtractSentences({}, {1}, {}).status().code(), absl::StatusCode::kInternal);
  const float infinite = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ExtractSentences({1, infinite}, {1}, {}).status().code(), absl::StatusCode::kInternal);
}

TEST(Lead, TakesFromTheStart) {
  EXPECT_THAT(*LeadSentences(kWords, {.max_sentences = 3}), ElementsAre(0, 1, 2));
  EXPECT_THAT(*LeadSentences(kWords, {.max_sentences = 3, .max_words = 17}), ElementsAre(0, 1));
  EXPECT_THAT(*LeadSentences(kWords, {.max_sentences = 3, .max_words = 1}), ElementsAre(0));
  EXPECT_THAT(*LeadSentences({}, {}), IsEmpty());
}

TEST(Words, AreRunsWithoutWhiteSpace) {
  EXPECT_EQ(CountWords("  one two\tthree\n"), 3);
  EXPECT_EQ(CountWords(" \n"), 0);
}

}  // namespace
}  // namespace tenon::engine
