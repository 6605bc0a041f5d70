#include "worker/engine/generate/text_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tenon::engine {
namespace {

using ::testing::ElementsAre;

// One token is one byte.
std::string Bytes(absl::Span<const int32_t> tokens) {
  std::string text;
  for (const int32_t token : tokens) text.push_back(static_cast<char>(token));
  return text;
}

// The pieces of `text`, fed byte by byte, and what is left at the end.
std::vector<std::string> Pieces(const std::string& text, const std::vector<std::string>& stops,
                                bool* stopped = nullptr) {
  TextStream stream(Bytes, stops);
  std::vector<std::string> pieces;
  std::vector<int32_t> tokens;
  for (const char byte : text) {
    tokens.push_back(static_cast<unsigned char>(byte));
    pieces.push_back(stream.Add(tokens));
    if (stream.stopped()) break;
  }
  pieces.push_back(stream.Finish());
  if (stopped != nullptr) *stopped = stream.stopped();
  return pieces;
}

TEST(TextStream, ShowsTextAtOnce) { EXPECT_THAT(Pieces("abc", {}), ElementsAre("a", "b", "c", "")); }

TEST(TextStream, HoldsACharacterBackUntilItIsWhole) {
  EXPECT_THAT(Pieces("a\xc3\xa9", {}), ElementsAre("a", "", "\xc3\xa9", ""));
  EXPECT_THAT(Pieces("\xf0\x9f\x99\x82!", {}), ElementsAre("", "", "", "\xf0\x9f\x99\x82", "!", ""));
  EXPECT_THAT(Pieces("a\xe2\x82", {}), ElementsAre("a", "", "", "\xe2\x82"));  // never completed: shown at the end
}

// Spaces that a tokenizer's clean-up may still take out.
TEST(TextStream, HoldsSpacesBack) {
  EXPECT_THAT(Pieces("a .", {}), ElementsAre("a", "", " .", ""));
  EXPECT_THAT(Pieces("i n'e", {}), ElementsAre("i", "", "", "", " n'e", ""));
  EXPECT_THAT(Pieces("a ", {}), ElementsAre("a", "", " "));
  const std::vector<std::string> texts = {"I do", "I do ", "I do n", "I do n'", "I don't", "I don't!"};
  TextStream stream([&](absl::Span<const int32_t> tokens) { return texts[tokens.size() - 1]; }, {});
  std::vector<int32_t> tokens;
  std::string shown;
  for (size_t i = 0; i < texts.size(); ++i) {
    tokens.push_back(0);
    shown += stream.Add(tokens);
    EXPECT_EQ(shown, i < 4 ? "I do" : texts[i]);
  }
}

TEST(TextStream, HoldsReplacementsBack) {
  const std::string replacement = "\xef\xbf\xbd";
  TextStream stream(
      [&](absl::Span<const int32_t> tokens) { return tokens.size() == 1 ? "a" + replacement : "a\xc3\xa9"; }, {});
  EXPECT_EQ(stream.Add({1}), "a");
  EXPECT_EQ(stream.Add({1, 2}), "\xc3\xa9");
}

TEST(TextStream, NeverShowsPartOfAStopString) {
  bool stopped = false;
  EXPECT_THAT(Pieces("ab.\nc", {".\n"}, &stopped), ElementsAre("a", "b", "", "", ""));
  EXPECT_TRUE(stopped);
  EXPECT_THAT(Pieces("ab.c", {".\n"}, &stopped), ElementsAre("a", "b", "", ".c", ""));
  EXPECT_FALSE(stopped);
  EXPECT_THAT(Pieces("ab.", {".\n"}, &stopped), ElementsAre("a", "b", "", "."));
  EXPECT_FALSE(stopped);
  // The beginning of one stop string may hold another's.
  EXPECT_THAT(Pieces("xaab", {"aab"}, &stopped), ElementsAre("x", "", "", "", ""));
  EXPECT_THAT(Pieces("aaab", {"aab"}, &stopped), ElementsAre("", "", "a", "", ""));
  EXPECT_TRUE(stopped);
}

TEST(TextStream, CutsAtTheFirstStopStringOfAToken) {
  TextStream stream([](absl::Span<const int32_t>) { return "one END two STOP"; }, {"STOP", "END"});
  EXPECT_EQ(stream.Add({1}), "one ");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.Add({1, 2}), "");
  EXPECT_EQ(stream.shown(), "one ");
  EXPECT_EQ(CutAtStop("one END two STOP", {"STOP", "END"}), "one ");
  EXPECT_EQ(CutAtStop("one", {"STOP"}), "one");
}

TEST(TextStream, PiecesAreTheTextUpToTheStop) {
  const std::string text = "g\xc3\xbcnstig, \xe2\x82\xac 5 ###";
  for (const std::string& stop : {std::string("##"), std::string("\xe2\x82\xac"), std::string("nope")}) {
    std::string all;
    for (const std::string& piece : Pieces(text, {stop})) all += piece;
    EXPECT_EQ(all, CutAtStop(text, {stop}));
  }
}

}  // namespace
}  // namespace tenon::engine
