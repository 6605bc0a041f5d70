#include "server/api/generation_replies.h"

#include <utility>

namespace tenon::server {
namespace {

absl::Status NotWritten() { return absl::InternalError("a worker answered a row without the text that was asked for"); }

// What every reply ends with.
template <typename Response>
void AddRest(const ResolvedModel& model, internal::v1::InferenceResult& result, Response* response) {
  *response->mutable_model() = model.version;
  response->mutable_usage()->set_input_tokens(result.input_tokens());
  response->mutable_usage()->set_output_tokens(result.output_tokens());
  response->mutable_ignored_options()->Swap(result.mutable_ignored_options());
}

}  // namespace

absl::StatusOr<v1::GenerateResponse> GenerateReply(const ResolvedModel& model, internal::v1::InferenceResult result) {
  v1::GenerateResponse response;
  for (auto& row : *result.mutable_rows()) {
    if (row.generation().outputs().empty()) return NotWritten();
    response.add_generations()->Swap(row.mutable_generation());
  }
  AddRest(model, result, &response);
  return response;
}

absl::StatusOr<v1::SummarizeResponse> SummarizeReply(const ResolvedModel& model, internal::v1::InferenceResult result) {
  v1::SummarizeResponse response;
  for (auto& row : *result.mutable_rows()) {
    if (row.summary().kind() == v1::Summary::KIND_UNSPECIFIED) return NotWritten();
    response.add_summaries()->Swap(row.mutable_summary());
  }
  AddRest(model, result, &response);
  return response;
}

absl::StatusOr<v1::StreamGenerateResponse> StreamEnd(const ResolvedModel& model, internal::v1::InferenceResult result) {
  if (result.rows_size() != 1 || result.rows(0).generation().outputs_size() != 1) return NotWritten();
  v1::StreamGenerateResponse response;
  response.mutable_generation()->Swap(result.mutable_rows(0)->mutable_generation());
  AddRest(model, result, &response);
  return response;
}

}  // namespace tenon::server
