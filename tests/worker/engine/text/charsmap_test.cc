#include "worker/engine/text/charsmap.h"

#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "tests/worker/engine/text/t5_files.h"
#include "worker/engine/text/graphemes.h"

namespace tenon::engine {
namespace {

Charsmap Make(const std::vector<std::pair<std::string, std::string>>& replacements) {
  auto map = Charsmap::Parse(test::CharsmapBytes(replacements));
  EXPECT_TRUE(map.ok()) << map.status();
  return *std::move(map);
}

TEST(Charsmap, Replaces) {
  const Charsmap map = Make({{"a", "b"}, {"\xEF\xBD\x81", "aa"}, {"\x01", ""}, {"\n", " "}, {"\r", " "}});
  EXPECT_EQ(map.Normalize("a cat"), "b cbt");
  EXPECT_EQ(map.Normalize("\xEF\xBD\x81\xEF\xBD\x82"), "aa\xEF\xBD\x82") << "what was put in is not looked up again";
  EXPECT_EQ(map.Normalize(std::string("x\x01y\0z", 5)), std::string("xy\0z", 4));
  EXPECT_EQ(map.Normalize("x\r\ny\n\rz"), "x y  z") << "\\r\\n is one cluster";
  EXPECT_EQ(map.Normalize(""), "");
  EXPECT_EQ(Charsmap().Normalize("a\xC3\xA9\r\n"), "a\xC3\xA9\r\n");
}

// As transformers' tokenizer does, not as one would like it.
TEST(Charsmap, TakesTheShortestRunOfAShortCluster) {
  const Charsmap map = Make({{"e\xCC\x81", "\xC3\xA9"}, {"a", "A"}, {"a\xCC\x81", "\xC3\xA1"}});
  EXPECT_EQ(map.Normalize("e\xCC\x81"), "\xC3\xA9");
  EXPECT_EQ(map.Normalize("a\xCC\x81x"), "Ax") << "a alone comes first, and the accent goes";
  EXPECT_EQ(map.Normalize("e\xCC\x81\xCC\x81"), "\xC3\xA9") << "5 bytes: the second accent goes";
  EXPECT_EQ(map.Normalize("a\xCC\x81\xCC\x81\xCC\x81"), "A\xCC\x81\xCC\x81\xCC\x81") << "7 bytes: one by one";
  EXPECT_EQ(map.Normalize("e\xCC\x81\xCC\x81\xCC\x81"), "e\xCC\x81\xCC\x81\xCC\x81");
}

TEST(Charsmap, StopsWhenAsked) {
  const Charsmap map = Make({{"a", "b"}});
  std::string seen;
  const std::string text = "xay\xC3\xA9z";
  EXPECT_FALSE(map.Run(text.data(), text.data() + text.size(), [&](std::string_view part) {
    seen.append(part);
    return seen.size() < 2;
  }));
  EXPECT_EQ(seen, "xb");
}

TEST(Charsmap, BrokenOnesAreRefusedOrFindNothing) {
  const std::string good = test::TinyCharsmap();
  for (size_t size = 0; size < 8; ++size) {
    const auto map = Charsmap::Parse(good.substr(0, size));
    ASSERT_FALSE(map.ok());
    EXPECT_EQ(GetReason(map.status()), Reason::kBaseInvalid);
  }
  EXPECT_FALSE(Charsmap::Parse(std::string("\x03\0\0\0abc", 7)).ok()) << "no whole unit";
  EXPECT_FALSE(Charsmap::Parse(std::string("\0\0\0\0abc", 7)).ok()) << "no unit";
  EXPECT_FALSE(Charsmap::Parse(good + "\xFF").ok()) << "not UTF-8";
  // Units that lead out of the trie, and a value behind the replacements.
  std::string wild = good;
  for (size_t at = 4; at < 12; ++at) wild[at] = '\xFF';
  const auto map = Charsmap::Parse(wild);
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(map->Normalize("a\xEF\xBD\x81\x01"), "a\xEF\xBD\x81\x01");
}

TEST(Graphemes, Clusters) {
  const auto bytes = [](const std::string& text) { return ClusterBytes(text.data(), text.data() + text.size()); };
  EXPECT_EQ(bytes("ab"), 1u);
  EXPECT_EQ(bytes("\r\n\n"), 2u);
  EXPECT_EQ(bytes("\n\xCC\x81"), 1u) << "nothing joins a line feed";
  EXPECT_EQ(bytes("a\xCC\x81\xCC\x81z"), 5u);
  EXPECT_EQ(bytes("\xCC\x81\xCC\x81z"), 4u);
  EXPECT_EQ(bytes("\xD8\x80"
                  "1a"),
            3u)
      << "a sign that is put before digits";
  EXPECT_EQ(bytes("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8x"), 9u) << "Hangul L V T";
  EXPECT_EQ(bytes("\xEA\xB0\x80\xE1\x86\xA8\xEA\xB0\x80"), 6u) << "LV T, and a new syllable";
  EXPECT_EQ(bytes("\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA\xF0\x9F\x87\xA9"), 8u) << "two flags' letters";
  EXPECT_EQ(bytes("\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9\xF0\x9F\x91\xA7"), 11u) << "joined, then not joined";
  EXPECT_EQ(bytes("\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD\xE2\x80\x8D\xF0\x9F\x91\xA9"), 15u) << "with a skin tone between";
  EXPECT_EQ(bytes("a\xE2\x80\x8D\xF0\x9F\x91\xA9"), 4u) << "a letter is not joined to a picture";
  EXPECT_EQ(bytes("\xE0\xA4\x95\xE0\xA5\x8D\xE0\xA4\xB7\xE0\xA4\xBE\xE0\xA4\x95"), 12u) << "ka, virama, ssa, aa; ka";
  EXPECT_EQ(bytes("\xE0\xA4\x95\xE0\xA5\x8D\xE2\x80\x8C\xE0\xA4\xB7"), 9u) << "a non-joiner lets them part";
  EXPECT_EQ(bytes("\xE0\xA4\x95\xE0\xA4\xB7"), 3u);
  EXPECT_EQ(bytes("a\xE0\xA2\x97"), 4u) << "a mark of Unicode 16";
}

}  // namespace
}  // namespace tenon::engine
