#include "server/api/span_requests.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/answer_options.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"
#include "server/api/inference_replies.h"

namespace tenon::server {
namespace {

constexpr int kMaxWords = 10'000;

absl::Status CheckWords(const v1::Words& words, const std::string& field) {
  if (words.words().empty()) {
    return TenonError(Reason::kFieldRequired, field + ": at least one word is required", field);
  }
  if (words.words_size() > kMaxWords) {
    return TenonError(Reason::kFieldInvalid,
                      absl::StrCat(field, " has ", words.words_size(), " words; at most ", kMaxWords), field);
  }
  int64_t bytes = 0;
  for (int i = 0; i < words.words_size(); ++i) {
    RETURN_IF_ERROR(formats::CheckText(words.words(i), kMaxTextBytes, absl::StrCat(field, ".words[", i, "]")));
    bytes += static_cast<int64_t>(words.words(i).size()) + 1;
  }
  if (bytes <= kMaxTextBytes) return absl::OkStatus();
  return TenonError(Reason::kTextTooLarge, absl::StrCat(field, " has more than ", kMaxTextBytes, " bytes"), field);
}

absl::Status CheckCount(int count, const char* field) {
  if (count > 0 && count <= kMaxTexts) return absl::OkStatus();
  if (count == 0)
    return TenonError(Reason::kFieldRequired, absl::StrCat("at least one of ", field, " is required"), field);
  return TenonError(Reason::kFieldInvalid,
                    absl::StrCat("a call takes at most ", kMaxTexts, " ", field, ", not ", count), field);
}

// The same error of `texts[3]` as one of `other[3]`.
absl::Status Renamed(const absl::Status& status, const std::string& other) {
  const std::string field = GetField(status);
  absl::string_view index = field;
  if (!absl::ConsumePrefix(&index, "texts[")) return status;
  return TenonError(GetReason(status), std::string(status.message()), absl::StrCat(other, "[", index));
}

template <typename Response>
void AddRest(const ResolvedModel& model, const internal::v1::InferenceResult& result, Response* response) {
  *response->mutable_model() = model.version;
  response->mutable_usage()->set_input_tokens(result.input_tokens());
}

}  // namespace

absl::Status CheckTagTokens(const v1::TagTokensRequest& request) {
  if (request.model_case() == v1::TagTokensRequest::MODEL_NOT_SET) return ModelRequired();
  if (request.words().empty()) return CheckTexts(request.texts());
  if (!request.texts().empty()) {
    return TenonError(Reason::kFieldInvalid, "give texts or words, not both", "words");
  }
  RETURN_IF_ERROR(CheckCount(request.words_size(), "words"));
  for (int i = 0; i < request.words_size(); ++i) {
    RETURN_IF_ERROR(CheckWords(request.words(i), absl::StrCat("words[", i, "]")));
  }
  return absl::OkStatus();
}

absl::Status CheckAnswerQuestion(const v1::AnswerQuestionRequest& request) {
  if (request.model_case() == v1::AnswerQuestionRequest::MODEL_NOT_SET) return ModelRequired();
  RETURN_IF_ERROR(CheckCount(request.questions_size(), "questions"));
  for (int i = 0; i < request.questions_size(); ++i) {
    const std::string field = absl::StrCat("questions[", i, "].");
    RETURN_IF_ERROR(formats::CheckText(request.questions(i).question(), kMaxTextBytes, field + "question"));
    RETURN_IF_ERROR(formats::CheckText(request.questions(i).context(), kMaxTextBytes, field + "context"));
  }
  return CheckAnswerOptions(request.options(), "options");
}

absl::Status CheckTask(const ResolvedModel& model, v1::Task task, const char* field) {
  if (model.task == task && !model.labels.empty()) return absl::OkStatus();
  return TenonError(
      Reason::kNoClassifier,
      absl::StrCat("the model is for ", v1::Task_Name(model.task), "; name one for ", v1::Task_Name(task)), field);
}

void FillCall(const v1::TagTokensRequest& request, InferenceCall* call) {
  call->texts.assign(request.texts().begin(), request.texts().end());
  for (const v1::Words& sentence : request.words()) {
    std::string& text = call->texts.emplace_back();
    internal::v1::WordPlaces& places = call->words.emplace_back();
    for (const std::string& word : sentence.words()) {
      if (!text.empty()) text += ' ';
      places.add_begins(static_cast<int32_t>(text.size()));
      text += word;
      places.add_ends(static_cast<int32_t>(text.size()));
    }
  }
}

void FillCall(const v1::AnswerQuestionRequest& request, InferenceCall* call) {
  for (const v1::Question& question : request.questions()) {
    call->texts.push_back(question.question());
    call->text_pairs.push_back(question.context());
  }
  call->answers = request.options();
}

absl::StatusOr<v1::TagTokensResponse> TagTokensReply(const ResolvedModel& model, internal::v1::InferenceResult result) {
  v1::TagTokensResponse response;
  for (auto& row : *result.mutable_rows()) {
    if (!row.has_tagged()) return absl::InternalError("a worker answered a row without tags");
    response.add_texts()->Swap(row.mutable_tagged());
  }
  AddRest(model, result, &response);
  return response;
}

absl::StatusOr<v1::AnswerQuestionResponse> AnswerQuestionReply(const ResolvedModel& model,
                                                               internal::v1::InferenceResult result) {
  v1::AnswerQuestionResponse response;
  for (auto& row : *result.mutable_rows()) {
    if (!row.has_answer()) return absl::InternalError("a worker answered a row without an answer");
    response.add_answers()->Swap(row.mutable_answer());
  }
  AddRest(model, result, &response);
  return response;
}

absl::Status NameTaggedText(const absl::Status& status, bool words) {
  return words ? Renamed(status, "words") : status;
}

absl::Status NameQuestion(const absl::Status& status) { return Renamed(status, "questions"); }

}  // namespace tenon::server
