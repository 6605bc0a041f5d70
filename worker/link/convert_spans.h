// Messages of tags and answers to the runtime's words and back, and rows of their data sets. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/formats/dataset.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "worker/runtime/span_calls.h"

namespace tenon::link {

// Of a request of kind TAG, and of kind ANSWER.
absl::StatusOr<runtime::TagCall> ToTagCall(const internal::v1::InferenceRequest& request, absl::Time now);
runtime::AnswerCall ToAnswerCall(const internal::v1::InferenceRequest& request, absl::Time now);
engine::AnswerOptions ToAnswerOptions(const v1::AnswerOptions& options);

internal::v1::InferenceResult ToResult(uint64_t call_id, const absl::StatusOr<runtime::TagReply>& reply);
internal::v1::InferenceResult ToResult(uint64_t call_id, const absl::StatusOr<runtime::AnswerReply>& reply);

// Rows with the indices of their tags in `labels`. LABEL_UNKNOWN names the row.
absl::StatusOr<std::vector<engine::TaggedWords>> ToTaggedWords(const formats::Dataset& dataset,
                                                               const std::vector<std::string>& labels);
std::vector<engine::AnsweredQuestion> ToQuestions(const formats::Dataset& dataset);

}  // namespace tenon::link
