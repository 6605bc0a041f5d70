#include "worker/engine/text/sentences.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace tenon::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> Split(const std::string& text) {
  static const SentenceSplitter splitter = *SentenceSplitter::Make();
  std::vector<std::string> sentences;
  for (const Sentence& sentence : splitter.Split(text))
    sentences.push_back(text.substr(sentence.begin, sentence.end - sentence.begin));
  return sentences;
}

TEST(Sentences, EndAtFullStopsQuestionAndExclamationMarks) {
  EXPECT_THAT(Split("  It rained. Did it?  Yes! \"So it did.\" The end"),
              ElementsAre("It rained.", "Did it?", "Yes!", "\"So it did.\"", "The end"));
}

TEST(Sentences, DoNotEndBehindAbbreviations) {
  EXPECT_THAT(Split("Mr. Smith saw Dr. Hawkins at St. Mary's. He had time."),
              ElementsAre("Mr. Smith saw Dr. Hawkins at St. Mary's.", "He had time."));
  EXPECT_THAT(Split("The U.S. Senate met J. R. Miller vs. Mrs. Jones. It ended."),
              ElementsAre("The U.S. Senate met J. R. Miller vs. Mrs. Jones.", "It ended."));
  EXPECT_THAT(Split("It costs 3.50 dollars, e.g. Monday to Friday. See www.example.org for more."),
              ElementsAre("It costs 3.50 dollars, e.g. Monday to Friday.", "See www.example.org for more."));
}

TEST(Sentences, TheNextWordTellsWhatAnAbbreviationEnds) {
  EXPECT_THAT(
      Split("He came from the U.S. He left at 5 p.m. \"It was late.\" Was it Ford Motor Co. of Texas, etc. Yes."),
      ElementsAre("He came from the U.S.", "He left at 5 p.m.", "\"It was late.\"",
                  "Was it Ford Motor Co. of Texas, etc.", "Yes."));
  EXPECT_THAT(Split("Sales fell in Sept. 2003 at Time Inc. Magazines. No. 5 won. No. He lost."),
              ElementsAre("Sales fell in Sept. 2003 at Time Inc. Magazines.", "No. 5 won.", "No.", "He lost."));
}

TEST(Sentences, EndBehindShortWordsThatAreNoAbbreviations) {
  EXPECT_THAT(Split("OK. Let's go. Come in. We did the job. I do. You and I. Bye."),
              ElementsAre("OK.", "Let's go.", "Come in.", "We did the job.", "I do.", "You and I.", "Bye."));
}

TEST(Sentences, EndWhereALineEnds) {
  EXPECT_THAT(
      Split("#Person1#: Hi, Mr.\n#Person2#: Good to see you, and\r\n\r\n  #Person1#: you. Come in\u2028now"),
      ElementsAre("#Person1#: Hi, Mr.", "#Person2#: Good to see you, and", "#Person1#: you.", "Come in", "now"));
}

TEST(Sentences, KeepWhatHasNoWordWithTheOneBefore) {
  EXPECT_THAT(Split("Well. ... I see. :-)\n...\nWait! !!"), ElementsAre("Well. ...", "I see. :-)", "...", "Wait! !!"));
}

TEST(Sentences, OffsetsAreBytes) {
  EXPECT_THAT(Split("Café crème, s'il vous plaît. Merci 😀! 今日は。元気ですか？はい"),
              ElementsAre("Café crème, s'il vous plaît.", "Merci 😀!", "今日は。", "元気ですか？", "はい"));
}

TEST(Sentences, NothingMakesNone) {
  for (const char* text : {"", " ", "\n\n \t\u3000\n"}) EXPECT_THAT(Split(text), IsEmpty());
  EXPECT_THAT(Split(std::string("\0 \0", 3)), IsEmpty());
}

TEST(Sentences, BytesThatAreNoUtf8DoNoHarm) { EXPECT_THAT(Split("One \xff\xfe. Two \xe2\x82"), testing::SizeIs(2)); }

TEST(Sentences, OneSplitterServesManyThreads) {
  const SentenceSplitter splitter = *SentenceSplitter::Make();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::string text;
      for (int i = 0; i <= t; ++i) text += "Mr. Smith came. ";
      for (int i = 0; i < 200; ++i) EXPECT_EQ(splitter.Split(text).size(), static_cast<size_t>(t + 1));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace tenon::engine
