// Requests of TagTokens and AnswerQuestion checked and turned into texts, and their replies. Without gRPC.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/catalog/catalog.h"
#include "server/dispatch/inference.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "tenon/v1/inference_service.pb.h"

namespace tenon::server {

absl::Status CheckTagTokens(const v1::TagTokensRequest& request);
absl::Status CheckAnswerQuestion(const v1::AnswerQuestionRequest& request);

// NO_CLASSIFIER unless the model, which `field` names, has a head for the task.
absl::Status CheckTask(const ResolvedModel& model, v1::Task task, const char* field);

// Puts the request's texts into the call: words that came apart with a blank between.
void FillCall(const v1::TagTokensRequest& request, InferenceCall* call);
void FillCall(const v1::AnswerQuestionRequest& request, InferenceCall* call);

// INTERNAL when a row is not what was asked for.
absl::StatusOr<v1::TagTokensResponse> TagTokensReply(const ResolvedModel& model, internal::v1::InferenceResult result);
absl::StatusOr<v1::AnswerQuestionResponse> AnswerQuestionReply(const ResolvedModel& model,
                                                               internal::v1::InferenceResult result);

// What a worker says of a text, by the request's own name for it.
absl::Status NameTaggedText(const absl::Status& status, bool words);
absl::Status NameQuestion(const absl::Status& status);

}  // namespace tenon::server
