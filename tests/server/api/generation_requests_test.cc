// Every field of the requests that write texts: what is refused, under which name, and what is left to the worker.
#include "server/api/generation_requests.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "common/generation_options.h"

namespace tenon::server {
namespace {

using ::testing::HasSubstr;

template <typename Request>
Request Parse(const std::string& text) {
  Request request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

absl::Status Generate(const std::string& generation) {
  return CheckGenerate(Parse<v1::GenerateRequest>("base: 'flan' texts: 'a' generation { " + generation + " }"));
}
absl::Status Stream(const std::string& rest) {
  return CheckStreamGenerate(Parse<v1::StreamGenerateRequest>("base: 'flan' text: 'a' " + rest));
}
absl::Status Summarize(const std::string& rest) {
  return CheckSummarize(Parse<v1::SummarizeRequest>("base: 'flan' texts: 'a' " + rest));
}

struct Case {
  const char* options;
  const char* field;
};

TEST(CheckGenerate, OptionsOutOfRangeAreNamed) {
  for (const auto& [options, field] : std::initializer_list<Case>{{"max_new_tokens: 0", "max_new_tokens"},
                                                                  {"max_new_tokens: -1", "max_new_tokens"},
                                                                  {"min_new_tokens: -1", "min_new_tokens"},
                                                                  {"max_length: 0", "max_length"},
                                                                  {"min_length: -2", "min_length"},
                                                                  {"num_beams: 0", "num_beams"},
                                                                  {"num_return_sequences: 0", "num_return_sequences"},
                                                                  {"length_penalty: inf", "length_penalty"},
                                                                  {"length_penalty: nan", "length_penalty"},
                                                                  {"temperature: 0", "temperature"},
                                                                  {"temperature: -1", "temperature"},
                                                                  {"temperature: nan", "temperature"},
                                                                  {"temperature: inf", "temperature"},
                                                                  {"top_k: -1", "top_k"},
                                                                  {"top_p: -0.1", "top_p"},
                                                                  {"top_p: 1.1", "top_p"},
                                                                  {"top_p: nan", "top_p"},
                                                                  {"typical_p: 0", "typical_p"},
                                                                  {"typical_p: 1.5", "typical_p"},
                                                                  {"repetition_penalty: 0", "repetition_penalty"},
                                                                  {"repetition_penalty: inf", "repetition_penalty"},
                                                                  {"no_repeat_ngram_size: -1", "no_repeat_ngram_size"},
                                                                  {"forced_bos_token_id: -1", "forced_bos_token_id"},
                                                                  {"early_stopping: 9", "early_stopping"},
                                                                  {"stop_strings: ''", "stop_strings[0]"},
                                                                  {"bad_words: 'a' bad_words: ''", "bad_words[1]"}}) {
    const absl::Status status = Generate(options);
    EXPECT_EQ(GetReason(status), Reason::kFieldInvalid) << options;
    EXPECT_EQ(GetField(status), std::string("generation.") + field) << options;
    EXPECT_THAT(std::string(status.message()), HasSubstr(field));
  }
}

TEST(CheckGenerate, EdgesOfTheRangesAreIn) {
  for (const char* options :
       {"", "max_new_tokens: 1 min_new_tokens: 1", "min_new_tokens: 0 min_length: 0", "max_length: 1",
        "length_penalty: -2", "temperature: 0.01", "top_k: 0", "top_p: 0", "top_p: 1", "typical_p: 1",
        "repetition_penalty: 0.5", "no_repeat_ngram_size: 0", "forced_bos_token_id: 0", "seed: 18446744073709551615",
        "stop_strings: '\\n'", "bad_words: ' '", "early_stopping: EARLY_STOPPING_NEVER",
        "num_beams: 4 num_return_sequences: 4", "do_sample: true num_return_sequences: 5",
        "do_sample: true num_beams: 1 num_return_sequences: 5",
        // Without effect, which the worker's reply says.
        "temperature: 2", "early_stopping: EARLY_STOPPING_TRUE"}) {
    EXPECT_TRUE(Generate(options).ok()) << options << ": " << Generate(options);
  }
}

TEST(CheckGenerate, OptionsThatExcludeEachOther) {
  EXPECT_EQ(GetField(Generate("max_new_tokens: 5 min_new_tokens: 6")), "generation.min_new_tokens");
  EXPECT_EQ(GetField(Generate("max_length: 5 min_length: 6")), "generation.min_length");
  EXPECT_EQ(GetField(Generate("num_beams: 2 num_return_sequences: 3")), "generation.num_return_sequences");
  const absl::Status greedy = Generate("num_beams: 1 num_return_sequences: 2");
  EXPECT_EQ(GetField(greedy), "generation.num_return_sequences");
  EXPECT_THAT(std::string(greedy.message()), HasSubstr("do_sample"));
  const absl::Status sampling = Generate("do_sample: true num_beams: 2");
  EXPECT_EQ(GetReason(sampling), Reason::kUnsupported);
  EXPECT_EQ(GetField(sampling), "generation.do_sample");
}

// The base may say otherwise: a base that searches with beams gives several sequences, `new` lengths win over the
// others.
TEST(CheckGenerate, WhatDependsOnTheBaseIsLeftToTheWorker) {
  EXPECT_TRUE(Generate("num_return_sequences: 3").ok());
  EXPECT_TRUE(Generate("min_new_tokens: 500").ok());
  EXPECT_TRUE(Generate("max_new_tokens: 5 max_length: 5 min_length: 6").ok());
  EXPECT_TRUE(Generate("max_new_tokens: 1000000").ok());
}

TEST(CheckGenerate, PhrasesAreBounded) {
  v1::GenerateRequest request = Parse<v1::GenerateRequest>("base: 'flan' texts: 'a'");
  auto& config = *request.mutable_generation();
  for (int i = 0; i < kMaxBadWords; ++i) config.add_bad_words("bad");
  for (int i = 0; i < kMaxStopStrings; ++i) config.add_stop_strings(std::string(kMaxPhraseBytes, 'x'));
  EXPECT_TRUE(CheckGenerate(request).ok());
  config.add_bad_words("bad");
  EXPECT_EQ(GetField(CheckGenerate(request)), "generation.bad_words");
  config.mutable_bad_words()->RemoveLast();
  config.add_stop_strings("stop");
  EXPECT_EQ(GetField(CheckGenerate(request)), "generation.stop_strings");
  config.mutable_stop_strings()->RemoveLast();
  config.set_stop_strings(3, std::string(kMaxPhraseBytes + 1, 'x'));
  EXPECT_EQ(GetField(CheckGenerate(request)), "generation.stop_strings[3]");
  config.set_stop_strings(3, "\xff");
  EXPECT_EQ(GetField(CheckGenerate(request)), "generation.stop_strings[3]");
}

TEST(CheckGenerate, ModelTextsAndLimit) {
  EXPECT_EQ(GetField(CheckGenerate(Parse<v1::GenerateRequest>("texts: 'a'"))), "model");
  EXPECT_EQ(GetField(CheckGenerate(Parse<v1::GenerateRequest>("base: 'flan'"))), "texts");
  EXPECT_EQ(GetField(CheckGenerate(Parse<v1::GenerateRequest>("base: 'flan' texts: 'a' texts: ' '"))), "texts[1]");
  EXPECT_EQ(GetField(CheckGenerate(Parse<v1::GenerateRequest>("base: 'flan' texts: 'a' max_input_tokens: -1"))),
            "max_input_tokens");
  v1::GenerateRequest many = Parse<v1::GenerateRequest>("base: 'flan'");
  for (int i = 0; i < 1024; ++i) many.add_texts("a");
  EXPECT_TRUE(CheckGenerate(many).ok());
  many.add_texts("a");
  EXPECT_EQ(GetField(CheckGenerate(many)), "texts");
}

TEST(CheckStreamGenerate, IsForOneTextOfOneLine) {
  EXPECT_TRUE(Stream("").ok());
  EXPECT_TRUE(Stream("generation { do_sample: true num_beams: 1 }").ok());
  EXPECT_EQ(GetField(Stream("generation { num_beams: 2 }")), "generation.num_beams");
  EXPECT_EQ(GetField(Stream("generation { do_sample: true num_return_sequences: 2 }")),
            "generation.num_return_sequences");
  EXPECT_EQ(GetField(Stream("generation { top_p: 2 }")), "generation.top_p");
  EXPECT_EQ(GetField(Stream("max_input_tokens: -5")), "max_input_tokens");
  const auto check = [](const char* text) { return CheckStreamGenerate(Parse<v1::StreamGenerateRequest>(text)); };
  EXPECT_EQ(GetField(check("text: 'a'")), "model");
  EXPECT_EQ(GetReason(check("base: 'flan'")), Reason::kFieldRequired);
  EXPECT_EQ(GetReason(check("base: 'flan' text: ' '")), Reason::kTextEmpty);
  EXPECT_EQ(GetField(check("base: 'flan' text: ' '")), "text");
}

TEST(CheckSummarize, OptionsAndTexts) {
  for (const char* rest :
       {"", "extractive { max_sentences: 1 method: EXTRACTIVE_METHOD_LEAD relevance: 0 }",
        "extractive { relevance: 1 }", "extractive { method: EXTRACTIVE_METHOD_SCORER }",
        "generation { num_beams: 4 num_return_sequences: 1 }", "combine_chunks: true max_input_tokens: 100"}) {
    EXPECT_TRUE(Summarize(rest).ok()) << rest << ": " << Summarize(rest);
  }
  for (const auto& [rest, field] : std::initializer_list<Case>{
           {"extractive { max_sentences: -1 }", "extractive.max_sentences"},
           {"extractive { max_sentences: 1001 }", "extractive.max_sentences"},
           {"extractive { method: 7 }", "extractive.method"},
           {"extractive { relevance: -0.1 }", "extractive.relevance"},
           {"extractive { relevance: 1.1 }", "extractive.relevance"},
           {"extractive { relevance: nan }", "extractive.relevance"},
           {"generation { do_sample: true num_return_sequences: 2 }", "generation.num_return_sequences"},
           {"generation { return_scores: true }", "generation.return_scores"},
           {"generation { temperature: 0 }", "generation.temperature"},
           {"max_input_tokens: -1", "max_input_tokens"}}) {
    EXPECT_EQ(GetReason(Summarize(rest)), Reason::kFieldInvalid) << rest;
    EXPECT_EQ(GetField(Summarize(rest)), field) << rest;
  }
  v1::SummarizeRequest many = Parse<v1::SummarizeRequest>("base: 'flan'");
  EXPECT_EQ(GetReason(CheckSummarize(many)), Reason::kFieldRequired);
  for (int i = 0; i < kMaxSummarizedTexts; ++i) many.add_texts("a");
  EXPECT_TRUE(CheckSummarize(many).ok());
  many.add_texts("a");
  EXPECT_EQ(GetField(CheckSummarize(many)), "texts");
  EXPECT_THAT(std::string(CheckSummarize(many).message()), HasSubstr("256"));
  many.clear_model();
  EXPECT_EQ(GetField(CheckSummarize(many)), "model");
}

TEST(NameRequestField, GivesTheWorkersFieldsTheirPath) {
  const auto named = [](const absl::Status& status) { return GetField(NameRequestField(status, "adapter")); };
  EXPECT_EQ(named(TenonError(Reason::kFieldInvalid, "", "num_beams")), "generation.num_beams");
  EXPECT_EQ(named(TenonError(Reason::kFieldInvalid, "", "relevance")), "extractive.relevance");
  EXPECT_EQ(named(TenonError(Reason::kTextTooLarge, "", "texts[3]")), "texts[3]");
  EXPECT_EQ(named(TenonError(Reason::kNotGenerative, "")), "adapter");
  EXPECT_EQ(named(TenonError(Reason::kNoWorker, "")), "");
  const absl::Status kept = NameRequestField(TenonError(Reason::kUnsupported, "why", "do_sample"), "base");
  EXPECT_EQ(GetReason(kept), Reason::kUnsupported);
  EXPECT_EQ(std::string(kept.message()), "why");
  EXPECT_TRUE(NameRequestField(absl::OkStatus(), "base").ok());
}

}  // namespace
}  // namespace tenon::server
