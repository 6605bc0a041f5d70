// TagTokens and AnswerQuestion.
#include <utility>

#include "server/api/inference_calls.h"
#include "server/api/inference_service.h"
#include "server/api/span_requests.h"

namespace tenon::server {

using internal::v1::InferenceResult;

grpc::ServerUnaryReactor* InferenceService::TagTokens(grpc::CallbackServerContext* context,
                                                      const v1::TagTokensRequest* request,
                                                      v1::TagTokensResponse* response) {
  return Guarded::Async(
      runner_, context, request, response, "tenon.v1.InferenceService/TagTokens",
      [this](const CallContext& call, const v1::TagTokensRequest& request, v1::TagTokensResponse* response,
             std::function<void(absl::Status)> done, std::function<void()>* on_cancel) {
        if (absl::Status valid = CheckTagTokens(request); !valid.ok()) return done(valid);
        auto model = ResolveModel(*models_, call.tenant, request);
        if (!model.ok()) return done(model.status());
        const absl::Status fits = CheckTask(*model, v1::TASK_TOKEN_CLASSIFICATION, ModelField(request));
        if (!fits.ok()) return done(fits);
        InferenceCall inference = NewCall(call, *model, internal::v1::INFERENCE_KIND_TAG);
        FillCall(request, &inference);
        Answer(
            router_, std::move(inference), ModelField(request), response,
            [model = *std::move(model)](InferenceResult result) { return TagTokensReply(model, std::move(result)); },
            [done = std::move(done), words = !request.words().empty()](const absl::Status& status) {
              done(NameTaggedText(status, words));
            },
            on_cancel);
      });
}

grpc::ServerUnaryReactor* InferenceService::AnswerQuestion(grpc::CallbackServerContext* context,
                                                           const v1::AnswerQuestionRequest* request,
                                                           v1::AnswerQuestionResponse* response) {
  return Guarded::Async(
      runner_, context, request, response, "tenon.v1.InferenceService/AnswerQuestion",
      [this](const CallContext& call, const v1::AnswerQuestionRequest& request, v1::AnswerQuestionResponse* response,
             std::function<void(absl::Status)> done, std::function<void()>* on_cancel) {
        if (absl::Status valid = CheckAnswerQuestion(request); !valid.ok()) return done(valid);
        auto model = ResolveModel(*models_, call.tenant, request);
        if (!model.ok()) return done(model.status());
        const absl::Status fits = CheckTask(*model, v1::TASK_QUESTION_ANSWERING, ModelField(request));
        if (!fits.ok()) return done(fits);
        InferenceCall inference = NewCall(call, *model, internal::v1::INFERENCE_KIND_ANSWER);
        FillCall(request, &inference);
        Answer(
            router_, std::move(inference), ModelField(request), response,
            [model = *std::move(model)](InferenceResult result) {
              return AnswerQuestionReply(model, std::move(result));
            },
            [done = std::move(done)](const absl::Status& status) { done(NameQuestion(status)); }, on_cancel);
      });
}

}  // namespace tenon::server
