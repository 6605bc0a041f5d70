#include "worker/engine/text/byte_pairs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Letters and what merges of them give, ids in this order.
BytePairVocabulary Vocabulary(const std::string& letters,
                              const std::vector<std::pair<std::string, std::string>>& merges) {
  BytePairVocabulary vocabulary;
  const auto add = [&](const std::string& piece) {
    vocabulary.ids.emplace(piece, static_cast<int32_t>(vocabulary.ids.size()));
  };
  for (const char letter : letters) add(std::string(1, letter));
  for (const auto& [left, right] : merges) add(left + right);
  vocabulary.merges = merges;
  return vocabulary;
}

BytePairs Model(BytePairVocabulary vocabulary) {
  auto model = BytePairs::Create(std::move(vocabulary));
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

std::vector<int32_t> Ids(const BytePairs& model, const std::string& word) {
  BytePairs::Workspace workspace;
  std::vector<int32_t> ids = {77};
  model.Encode(word, &workspace, &ids);
  EXPECT_EQ(ids.front(), 77) << "ids are appended";
  ids.erase(ids.begin());
  return ids;
}

TEST(BytePairs, TheFirstMergeOfTheListGoesFirst) {
  const BytePairs model = Model(Vocabulary("abc", {{"b", "c"}, {"a", "b"}, {"a", "bc"}}));
  EXPECT_THAT(Ids(model, "abc"), ElementsAre(5));
  EXPECT_THAT(Ids(model, "abab"), ElementsAre(4, 4));
  EXPECT_THAT(Ids(model, "cab"), ElementsAre(2, 4));
  EXPECT_THAT(Ids(model, "c"), ElementsAre(2));
  EXPECT_THAT(Ids(model, ""), IsEmpty());
  EXPECT_THAT(Ids(Model(Vocabulary("abc", {{"a", "b"}, {"b", "c"}, {"a", "bc"}})), "abc"), ElementsAre(3, 2));
}

TEST(BytePairs, OfEqualOnesTheLeftmost) {
  const BytePairs model = Model(Vocabulary("ab", {{"a", "a"}, {"aa", "aa"}}));
  EXPECT_THAT(Ids(model, "aaa"), ElementsAre(2, 0));
  EXPECT_THAT(Ids(model, "aaaaaaa"), ElementsAre(3, 2, 0));
}

TEST(BytePairs, OfTheSameMergeTwiceTheLastCounts) {
  auto vocabulary = Vocabulary("abc", {{"a", "b"}, {"b", "c"}});
  vocabulary.merges.emplace_back("a", "b");
  EXPECT_THAT(Ids(Model(std::move(vocabulary)), "abc"), ElementsAre(0, 4));
}

TEST(BytePairs, BytesThatAreNoPiece) {
  auto vocabulary = Vocabulary("ab", {{"a", "b"}});
  EXPECT_THAT(Ids(Model(vocabulary), "axxb"), ElementsAre(2)) << "left out; then the others are neighbours";
  vocabulary.ids["<unk>"] = 9;
  vocabulary.unk_token = "<unk>";
  EXPECT_THAT(Ids(Model(vocabulary), "axxb\xFF"), ElementsAre(0, 9, 9, 1, 9));
  vocabulary.fuse_unk = true;
  EXPECT_THAT(Ids(Model(vocabulary), "axxb\xFF"), ElementsAre(0, 9, 1, 9));
}

TEST(BytePairs, AWholeWordWhereMergesAreIgnored) {
  auto vocabulary = Vocabulary("abc", {{"a", "b"}});
  vocabulary.ids["abc"] = 9;
  EXPECT_THAT(Ids(Model(vocabulary), "abc"), ElementsAre(3, 2)) << "no merge makes it";
  vocabulary.ignore_merges = true;
  EXPECT_THAT(Ids(Model(vocabulary), "abc"), ElementsAre(9));
  EXPECT_THAT(Ids(Model(vocabulary), "abca"), ElementsAre(3, 2, 0));
}

TEST(BytePairs, NamesWhatIsNotInTheVocabulary) {
  const auto refuse = [](const BytePairVocabulary& vocabulary, const std::string& words) {
    const absl::Status status = BytePairs::Create(vocabulary).status();
    EXPECT_EQ(GetReason(status), Reason::kBaseInvalid) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  auto vocabulary = Vocabulary("ab", {{"a", "b"}});
  vocabulary.merges.emplace_back("a", "zz");
  refuse(vocabulary, "merge 2 needs \"zz\"");
  vocabulary.merges.back() = {"b", "a"};
  refuse(vocabulary, "merge 2 needs \"ba\"");
  vocabulary.merges.pop_back();
  vocabulary.unk_token = "<unk>";
  refuse(vocabulary, "\"<unk>\" is not in the vocabulary");
}

// As the definition says it: of all neighbours that a merge joins the first of the best, until there is none.
std::vector<int32_t> ByDefinition(const BytePairVocabulary& vocabulary, const std::string& word) {
  std::vector<std::string> pieces;
  for (const char letter : word) pieces.emplace_back(1, letter);
  for (;;) {
    size_t best = vocabulary.merges.size(), where = 0;
    for (size_t i = 0; i + 1 < pieces.size(); ++i) {
      for (size_t rank = 0; rank < best; ++rank) {
        if (vocabulary.merges[rank] != std::pair(pieces[i], pieces[i + 1])) continue;
        best = rank;
        where = i;
      }
    }
    if (best == vocabulary.merges.size()) break;
    pieces[where] += pieces[where + 1];
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
  std::vector<int32_t> ids;
  for (const std::string& piece : pieces) ids.push_back(vocabulary.ids.at(piece));
  return ids;
}

TEST(BytePairs, RandomWordsAreMergedAsTheDefinitionSays) {
  std::mt19937 random(1);
  for (int round = 0; round < 40; ++round) {
    BytePairVocabulary vocabulary = Vocabulary("abc", {});
    std::vector<std::string> pieces = {"a", "b", "c"};
    for (int i = 0; i < 20; ++i) {
      const std::string left = pieces[random() % pieces.size()], right = pieces[random() % pieces.size()];
      const auto next = static_cast<int32_t>(vocabulary.ids.size());
      if (!vocabulary.ids.emplace(left + right, next).second) continue;
      vocabulary.merges.emplace_back(left, right);
      pieces.push_back(left + right);
    }
    std::shuffle(vocabulary.merges.begin(), vocabulary.merges.end(), random);
    const BytePairs model = Model(vocabulary);
    for (int i = 0; i < 200; ++i) {
      std::string word;
      for (uint32_t length = random() % 40; length > 0; --length) word.push_back("abc"[random() % 3]);
      ASSERT_EQ(Ids(model, word), ByDefinition(vocabulary, word)) << word;
    }
  }
}

// What is quadratic takes minutes here.
TEST(BytePairs, LongWords) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (std::string piece = "a"; piece.size() < 1 << 10; piece += piece) merges.emplace_back(piece, piece);
  merges.emplace_back("b", "a");
  const BytePairs model = Model(Vocabulary("ab", merges));
  const std::string word(1 << 20, 'a');
  EXPECT_EQ(Ids(model, word).size(), size_t{1} << 10);
  std::string mixed;
  for (int i = 0; i < 1 << 19; ++i) mixed += "ab";
  EXPECT_EQ(Ids(model, mixed).size(), (size_t{1} << 19) + 1);
}

}  // namespace
}  // namespace tenon::engine
