#include "worker/engine/summarize/oracle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "worker/engine/evaluate/rouge.h"

namespace tenon::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Oracle, TakesTheSentencesThatTheReferenceWasMadeOf) {
  const std::vector<std::string> sentences = {"It was a dark night.", "The cat sat on the mat.", "Nobody came.",
                                              "A dog barked at the cat."};
  EXPECT_THAT(OracleSentences(sentences, "The cat sat on the mat. A dog barked.", 3), ElementsAre(1, 3));
  EXPECT_THAT(OracleSentences(sentences, "The cat sat on the mat. A dog barked.", 1), ElementsAre(1));
}

TEST(Oracle, StopsWhenNothingHelps) {
  EXPECT_THAT(OracleSentences({"one two", "three", "one"}, "one two", 3), ElementsAre(0));
  EXPECT_THAT(OracleSentences({"one two", "three"}, "other words", 3), IsEmpty());
  EXPECT_THAT(OracleSentences({}, "other words", 3), IsEmpty());
}

// The same, every candidate scored as a text of its own.
std::vector<size_t> FromScratch(const std::vector<std::string>& sentences, const std::string& reference,
                                int64_t max_sentences) {
  std::vector<size_t> chosen;
  const auto worth_with = [&](size_t sentence) {
    std::string summary;
    for (size_t s = 0; s < sentences.size(); ++s) {
      const bool taken = s == sentence || std::find(chosen.begin(), chosen.end(), s) != chosen.end();
      if (taken) absl::StrAppend(&summary, sentences[s], "\n");
    }
    const RougeScores scores = ScoreRouge(reference, summary, {});
    return scores.rouge1.f1 + scores.rouge2.f1;
  };
  double reached = 0;
  while (static_cast<int64_t>(chosen.size()) < max_sentences) {
    size_t best = sentences.size();
    for (size_t s = 0; s < sentences.size(); ++s) {
      if (std::find(chosen.begin(), chosen.end(), s) != chosen.end()) continue;
      const double with = worth_with(s);
      if (with > reached) best = s, reached = with;
    }
    if (best == sentences.size()) break;
    chosen.push_back(best);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

// Few words, so that they come again, and sentences without one; enough of them that one comes between two others.
TEST(Oracle, ChoosesAsScoresFromScratchDo) {
  std::mt19937 draw(5);
  const auto text = [&](size_t most) {
    std::string made;
    for (size_t words = draw() % (most + 1); words > 0; --words) absl::StrAppend(&made, "w", draw() % 9, " ");
    return made + (draw() % 4 == 0 ? "-- !" : "");
  };
  int of_several = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> sentences(draw() % 12);
    for (std::string& sentence : sentences) sentence = text(8);
    const std::string reference = text(20);
    const std::vector<size_t> chosen = OracleSentences(sentences, reference, 6);
    ASSERT_EQ(chosen, FromScratch(sentences, reference, 6)) << reference << ": " << testing::PrintToString(sentences);
    of_several += chosen.size() > 2;
  }
  EXPECT_GT(of_several, 300);
}

}  // namespace
}  // namespace tenon::engine
