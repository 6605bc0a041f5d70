#include "worker/engine/text/unigram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "common/formats/status.h"
#include "worker/engine/text/piece_trie.h"

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int32_t> Ids(const std::vector<UnigramPiece>& pieces, const std::string& text) {
  const auto model = Unigram::Create(pieces, 0);
  EXPECT_TRUE(model.ok()) << model.status();
  Unigram::Workspace workspace;
  std::vector<int32_t> ids = {77};
  model->Encode(text, &workspace, &ids);
  EXPECT_EQ(ids.front(), 77) << "ids are appended";
  ids.erase(ids.begin());
  return ids;
}

TEST(PieceTrie, FindsEveryPieceThatATextBeginsWith) {
  const PieceTrie trie({{"ab", 1}, {"a", 2}, {"abcd", 3}, {"b", 4}, {"", 5}, {"ab", 6}, {"\xFF", 7}});
  std::vector<std::pair<size_t, int32_t>> found;
  const std::string text = "abcx";
  trie.Prefixes(text.data(), text.data() + text.size(),
                [&](size_t bytes, int32_t value) { found.emplace_back(bytes, value); });
  EXPECT_THAT(found, ElementsAre(std::pair(size_t{1}, 2), std::pair(size_t{2}, 6)));
  EXPECT_EQ(trie.Find("abcd"), 3);
  EXPECT_EQ(trie.Find("abc"), -1);
  EXPECT_EQ(trie.Find("abcde"), -1);
  EXPECT_EQ(trie.Find("\xFF"), 7);
  EXPECT_EQ(trie.Find(""), -1);
  EXPECT_EQ(PieceTrie({{"", 1}}).Find(""), -1);
  EXPECT_EQ(PieceTrie().Find("a"), -1);
}

// Nodes with every number of children, in more blocks than are open at a time.
TEST(PieceTrie, HoldsManyPieces) {
  std::mt19937 random(1);
  std::map<std::string, int32_t> wanted;
  for (int i = 0; i < 20'000; ++i) {
    std::string piece;
    const size_t length = 1 + random() % 6;
    const uint32_t letters = i % 3 == 0 ? 256 : 4;
    for (size_t j = 0; j < length; ++j) piece.push_back(static_cast<char>(random() % letters));
    wanted[piece] = i;
  }
  for (int c = 0; c < 256; ++c) wanted[{'x', static_cast<char>(c)}] = c;
  const PieceTrie trie({wanted.begin(), wanted.end()});
  for (const auto& [piece, value] : wanted) {
    ASSERT_EQ(trie.Find(piece), value);
    std::vector<int32_t> found, expected;
    for (size_t length = 1; length <= piece.size(); ++length) {
      const auto it = wanted.find(piece.substr(0, length));
      if (it != wanted.end()) expected.push_back(it->second);
    }
    trie.Prefixes(piece.data(), piece.data() + piece.size(), [&](size_t, int32_t id) { found.push_back(id); });
    ASSERT_EQ(found, expected);
  }
  for (int i = 0; i < 20'000; ++i) {
    std::string piece;
    for (size_t j = 0; j < 4; ++j) piece.push_back(static_cast<char>(random() % 8));
    const auto it = wanted.find(piece);
    ASSERT_EQ(trie.Find(piece), it == wanted.end() ? -1 : it->second);
  }
}

TEST(Unigram, TakesTheBestSum) {
  const std::vector<UnigramPiece> pieces = {{"<unk>", 0}, {"a", -1},  {"b", -1},   {"c", -1},
                                            {"ab", -3},   {"bc", -1}, {"abc", -4}, {"\xC3\xA9", -1}};
  EXPECT_THAT(Ids(pieces, "abc"), ElementsAre(1, 5));
  EXPECT_THAT(Ids(pieces, "ab"), ElementsAre(1, 2)) << "two pieces of -1 are better than one of -3";
  EXPECT_THAT(Ids(pieces,
                  "c\xC3\xA9"
                  "a"),
              ElementsAre(3, 7, 1));
  EXPECT_THAT(Ids(pieces, ""), ElementsAre());
}

TEST(Unigram, OfEqualSumsTheFirstFoundStays) {
  // Ways to "abc" of -2: a|bc, found from place 1, and ab|c, found later, from place 2.
  EXPECT_THAT(Ids({{"<unk>", 0}, {"a", -1}, {"bc", -1}, {"ab", -1}, {"c", -1}}, "abc"), ElementsAre(1, 2));
}

TEST(Unigram, ARunOfUnknownCharactersIsOneId) {
  const std::vector<UnigramPiece> pieces = {{"<unk>", 0}, {"a", -1}, {"xy", -50}};
  EXPECT_THAT(Ids(pieces,
                  "a\xE4\xB8\xAD\xF0\x9F\x98\x80q"
                  "a"),
              ElementsAre(1, 0, 1));
  EXPECT_THAT(Ids(pieces, "q<unk>q"), ElementsAre(0)) << "also with the unknown piece itself among them";
  EXPECT_THAT(Ids(pieces, "<unk>"), ElementsAre(0));
  EXPECT_THAT(Ids(pieces, "xy"), ElementsAre(2));
  // Each of x and y costs 10 more than the worst piece, here xy: so it is better even for a whole run.
  EXPECT_THAT(Ids(pieces, "xyx"), ElementsAre(2, 0));
}

TEST(Unigram, OfEqualPiecesTheLastCounts) {
  EXPECT_THAT(Ids({{"<unk>", 0}, {"a", -1}, {"a", -9}, {"aa", -3}}, "aaa"), ElementsAre(2, 3))
      << "with its own score: a|aa and aa|a are equal, and the first found stays";
}

TEST(Unigram, BadVocabulariesAreRefused) {
  const auto problem = [](const std::vector<UnigramPiece>& pieces, int32_t unknown) {
    const auto model = Unigram::Create(pieces, unknown);
    EXPECT_EQ(GetReason(model.status()), Reason::kBaseInvalid);
    return std::string(model.status().message());
  };
  EXPECT_THAT(problem({}, 0), HasSubstr("unknown piece 0"));
  EXPECT_THAT(problem({{"a", 0}}, 1), HasSubstr("unknown piece 1"));
  EXPECT_THAT(problem({{"a", 0}}, -1), HasSubstr("unknown piece -1"));
  EXPECT_THAT(problem({{"a", 0}, {"", 0}}, 0), HasSubstr("piece 1 is empty"));
  EXPECT_THAT(problem({{"a\xFF", 0}}, 0), HasSubstr("UTF-8"));
  EXPECT_THAT(problem({{"a", -1.0 / 0.0}}, 0), HasSubstr("not finite"));
}

}  // namespace
}  // namespace tenon::engine
