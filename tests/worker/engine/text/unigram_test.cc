#include "worker/engine/text/unigram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  EXPECT_TRUE(PieceTrie().empty());
  EXPECT_TRUE(PieceTrie({{"", 1}}).empty());
  EXPECT_EQ(PieceTrie().Find("a"), -1);
  EXPECT_FALSE(trie.empty());
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
