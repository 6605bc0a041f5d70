// Requests of TagTokens and AnswerQuestion: what is refused, under which name, and the texts that they become.
#include "server/api/span_requests.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

#include "common/formats/status.h"

namespace tenon::server {
namespace {

using ::testing::ElementsAre;

template <typename Request>
Request Parse(const std::string& text) {
  Request request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

absl::Status Tag(const std::string& rest) {
  return CheckTagTokens(Parse<v1::TagTokensRequest>("adapter: 'a' " + rest));
}
absl::Status Ask(const std::string& rest) {
  return CheckAnswerQuestion(Parse<v1::AnswerQuestionRequest>("adapter: 'a' " + rest));
}

TEST(CheckTagTokens, TakesTextsOrWords) {
  EXPECT_TRUE(Tag("texts: 'Ada in Turin'").ok());
  EXPECT_TRUE(Tag("words { words: 'Ada' words: 'in' } words { words: 'Turin' }").ok());
  EXPECT_EQ(GetField(Tag("texts: 'Ada' words { words: 'Ada' }")), "words");
}

TEST(CheckTagTokens, NamesWhatIsWrong) {
  EXPECT_EQ(GetReason(CheckTagTokens(Parse<v1::TagTokensRequest>("texts: 'Ada'"))), Reason::kFieldRequired);
  EXPECT_EQ(GetField(Tag("")), "texts");
  EXPECT_EQ(GetField(Tag("words { words: 'Ada' } words { }")), "words[1]");
  EXPECT_EQ(GetField(Tag("words { words: 'Ada' words: '' }")), "words[0].words[1]");
  v1::TagTokensRequest request = Parse<v1::TagTokensRequest>("adapter: 'a' words { }");
  for (int i = 0; i <= 10'000; ++i) request.mutable_words(0)->add_words("a");
  EXPECT_EQ(GetField(CheckTagTokens(request)), "words[0]");
  request.mutable_words(0)->mutable_words()->RemoveLast();
  EXPECT_TRUE(CheckTagTokens(request).ok()) << CheckTagTokens(request);
}

TEST(CheckTagTokens, WordsAreTogetherNoLongerThanAText) {
  v1::TagTokensRequest request = Parse<v1::TagTokensRequest>("adapter: 'a' words { }");
  for (int i = 0; i < 4'000; ++i) request.mutable_words(0)->add_words(std::string(400, 'a'));
  EXPECT_EQ(GetReason(CheckTagTokens(request)), Reason::kTextTooLarge);
  EXPECT_EQ(GetField(CheckTagTokens(request)), "words[0]");
}

TEST(CheckAnswerQuestion, NamesWhatIsWrong) {
  const std::string good = "questions { question: 'who?' context: 'Ada' } ";
  EXPECT_TRUE(Ask(good).ok());
  EXPECT_EQ(GetReason(CheckAnswerQuestion(Parse<v1::AnswerQuestionRequest>(good))), Reason::kFieldRequired);
  EXPECT_EQ(GetField(Ask("")), "questions");
  EXPECT_EQ(GetField(Ask(good + "questions { context: 'Ada' }")), "questions[1].question");
  EXPECT_EQ(GetField(Ask(good + "questions { question: 'who?' }")), "questions[1].context");
  for (const char* bad :
       {"max_answer_tokens: -1", "max_answer_tokens: 513", "doc_stride: -1", "top_k: 21", "no_answer_threshold: nan"}) {
    const std::string option(bad, std::string(bad).find(':'));
    EXPECT_EQ(GetField(Ask(good + "options { " + bad + " }")), "options." + option);
  }
}

TEST(FillCall, WordsBecomeATextAndTheirPlacesInBytes) {
  InferenceCall call;
  FillCall(Parse<v1::TagTokensRequest>("words { words: 'Zo\\303\\253' words: 'in' words: 'Rome' }"), &call);
  EXPECT_THAT(call.texts, ElementsAre("Zo\303\253 in Rome"));
  ASSERT_EQ(call.words.size(), 1u);
  EXPECT_THAT(call.words[0].begins(), ElementsAre(0, 5, 8));
  EXPECT_THAT(call.words[0].ends(), ElementsAre(4, 7, 12));
}

TEST(NameQuestion, TellsTheRequestsOwnField) {
  const absl::Status status = TenonError(Reason::kTextTooLarge, "too long", "texts[3]");
  EXPECT_EQ(GetField(NameQuestion(status)), "questions[3]");
  EXPECT_EQ(GetReason(NameQuestion(status)), Reason::kTextTooLarge);
  EXPECT_EQ(GetField(NameTaggedText(status, /*words=*/true)), "words[3]");
  EXPECT_EQ(GetField(NameTaggedText(status, /*words=*/false)), "texts[3]");
  EXPECT_EQ(GetField(NameQuestion(TenonError(Reason::kFieldInvalid, "no", "options.top_k"))), "options.top_k");
}

TEST(CheckTask, NamesAModelOfAnotherTask) {
  ResolvedModel model;
  model.task = v1::TASK_TOKEN_CLASSIFICATION;
  model.labels = {"O", "B-PER"};
  EXPECT_TRUE(CheckTask(model, v1::TASK_TOKEN_CLASSIFICATION, "adapter").ok());
  const absl::Status status = CheckTask(model, v1::TASK_QUESTION_ANSWERING, "adapter");
  EXPECT_EQ(GetReason(status), Reason::kNoClassifier);
  EXPECT_EQ(GetField(status), "adapter");
}

TEST(Replies, ARowOfAnotherKindIsAnInternalError) {
  internal::v1::InferenceResult result;
  result.set_input_tokens(7);
  result.add_rows()->mutable_tagged();
  const auto tagged = TagTokensReply({}, result);
  ASSERT_TRUE(tagged.ok());
  EXPECT_EQ(tagged->texts_size(), 1);
  EXPECT_EQ(tagged->usage().input_tokens(), 7);
  EXPECT_EQ(AnswerQuestionReply({}, result).status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace tenon::server
