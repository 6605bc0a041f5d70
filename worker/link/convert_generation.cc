#include "worker/link/convert_generation.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/link/convert_call.h"

namespace tenon::link {
namespace {

template <typename To, typename From>
void Set(std::optional<To>& to, bool has, From value) {
  if (has) to = static_cast<To>(value);
}

absl::StatusOr<std::optional<engine::EarlyStopping>> ToEarlyStopping(v1::EarlyStopping value) {
  switch (value) {
    case v1::EARLY_STOPPING_UNSPECIFIED:
      return std::nullopt;
    case v1::EARLY_STOPPING_FALSE:
      return engine::EarlyStopping::kFalse;
    case v1::EARLY_STOPPING_TRUE:
      return engine::EarlyStopping::kTrue;
    case v1::EARLY_STOPPING_NEVER:
      return engine::EarlyStopping::kNever;
    default:
      return TenonError(Reason::kFieldInvalid, absl::StrCat("early_stopping is ", static_cast<int>(value)),
                        "early_stopping");
  }
}

v1::FinishReason ToFinishReason(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kEos:
      return v1::FINISH_REASON_EOS;
    case engine::FinishReason::kStopString:
      return v1::FINISH_REASON_STOP_STRING;
    case engine::FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
    case engine::FinishReason::kExhausted:
      return v1::FINISH_REASON_EXHAUSTED;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

absl::StatusOr<runtime::ExtractiveChoice> ToChoice(const v1::ExtractiveOptions& options) {
  runtime::ExtractiveChoice choice;
  if (options.max_sentences() != 0) choice.max_sentences = options.max_sentences();
  switch (options.method()) {
    case v1::EXTRACTIVE_METHOD_UNSPECIFIED:
      break;
    case v1::EXTRACTIVE_METHOD_MMR:
      choice.method = runtime::ExtractiveChoice::Method::kMmr;
      break;
    case v1::EXTRACTIVE_METHOD_CENTROID:
      choice.method = runtime::ExtractiveChoice::Method::kCentroid;
      break;
    case v1::EXTRACTIVE_METHOD_LEAD:
      choice.method = runtime::ExtractiveChoice::Method::kLead;
      break;
    case v1::EXTRACTIVE_METHOD_SCORER:
      choice.method = runtime::ExtractiveChoice::Method::kScorer;
      break;
    default:
      return TenonError(Reason::kFieldInvalid, absl::StrCat("method is ", static_cast<int>(options.method())),
                        "extractive.method");
  }
  if (options.has_relevance()) choice.relevance = options.relevance();
  return choice;
}

// A row's counts, into the row and the sums.
template <typename Row>
internal::v1::RowResult& AddRow(const Row& row, internal::v1::InferenceResult& result) {
  internal::v1::RowResult& out = *result.add_rows();
  out.set_input_tokens(row.input_tokens);
  out.set_truncated(row.truncated);
  result.set_input_tokens(result.input_tokens() + row.input_tokens);
  result.set_output_tokens(result.output_tokens() + row.output_tokens);
  return out;
}

}  // namespace

absl::StatusOr<engine::GenerationOptions> ToGenerationOptions(const v1::GenerationConfig& from) {
  engine::GenerationOptions to;
  Set(to.max_new_tokens, from.has_max_new_tokens(), from.max_new_tokens());
  Set(to.min_new_tokens, from.has_min_new_tokens(), from.min_new_tokens());
  Set(to.max_length, from.has_max_length(), from.max_length());
  Set(to.min_length, from.has_min_length(), from.min_length());
  Set(to.num_beams, from.has_num_beams(), from.num_beams());
  Set(to.num_return_sequences, from.has_num_return_sequences(), from.num_return_sequences());
  Set(to.length_penalty, from.has_length_penalty(), from.length_penalty());
  ASSIGN_OR_RETURN(to.early_stopping, ToEarlyStopping(from.early_stopping()));
  Set(to.do_sample, from.has_do_sample(), from.do_sample());
  Set(to.temperature, from.has_temperature(), from.temperature());
  Set(to.top_k, from.has_top_k(), from.top_k());
  Set(to.top_p, from.has_top_p(), from.top_p());
  Set(to.typical_p, from.has_typical_p(), from.typical_p());
  Set(to.seed, from.has_seed(), from.seed());
  Set(to.repetition_penalty, from.has_repetition_penalty(), from.repetition_penalty());
  Set(to.no_repeat_ngram_size, from.has_no_repeat_ngram_size(), from.no_repeat_ngram_size());
  Set(to.forced_bos_token_id, from.has_forced_bos_token_id(), from.forced_bos_token_id());
  to.stop_strings.assign(from.stop_strings().begin(), from.stop_strings().end());
  to.return_scores = from.return_scores();
  return to;
}

absl::StatusOr<runtime::GenerationCall> ToGenerationCall(const internal::v1::InferenceRequest& request,
                                                         absl::Time now) {
  runtime::GenerationCall call;
  call.base_digest = request.base_digest();
  call.adapter_digest = request.adapter().digest();
  call.texts.assign(request.texts().begin(), request.texts().end());
  ASSIGN_OR_RETURN(call.options, ToGenerationOptions(request.generation()));
  const auto& words = request.generation().bad_words();
  call.bad_words.assign(words.begin(), words.end());
  call.max_input_tokens = request.max_input_tokens();
  call.stream = request.stream();
  call.deadline = DeadlineOf(request, now);
  return call;
}

absl::StatusOr<runtime::SummaryCall> ToSummaryCall(const internal::v1::InferenceRequest& request, absl::Time now) {
  runtime::SummaryCall call;
  call.base_digest = request.base_digest();
  call.adapter_digest = request.adapter().digest();
  call.texts.assign(request.texts().begin(), request.texts().end());
  if (request.has_generation()) {
    ASSIGN_OR_RETURN(call.options, ToGenerationOptions(request.generation()));
    const auto& words = request.generation().bad_words();
    call.bad_words.assign(words.begin(), words.end());
  }
  if (request.has_extractive()) {
    ASSIGN_OR_RETURN(call.extractive, ToChoice(request.extractive()));
  }
  call.max_input_tokens = request.max_input_tokens();
  call.combine_chunks = request.combine_chunks();
  if (request.has_frame()) call.frame = {request.frame().before(), request.frame().after()};
  call.deadline = DeadlineOf(request, now);
  return call;
}

internal::v1::InferenceResult ToResult(uint64_t call_id, const absl::StatusOr<runtime::GenerationReply>& reply) {
  internal::v1::InferenceResult result = BeginResult(call_id, reply);
  if (!reply.ok()) return result;
  result.mutable_ignored_options()->Add(reply->ignored_options.begin(), reply->ignored_options.end());
  for (const runtime::GenerationRow& row : reply->rows) {
    v1::Generation& generation = *AddRow(row, result).mutable_generation();
    generation.set_input_tokens(row.input_tokens);
    generation.set_truncated(row.truncated);
    generation.set_output_tokens(row.output_tokens);
    for (const engine::GeneratedSequence& one : row.sequences) {
      v1::GeneratedText& out = *generation.add_outputs();
      out.set_text(one.text);
      out.set_score(one.score);
      out.set_finish_reason(ToFinishReason(one.reason));
      if (one.log_probs.empty()) continue;  // nobody asked
      out.mutable_token_ids()->Add(one.tokens.begin(), one.tokens.end());
      out.mutable_token_log_probs()->Add(one.log_probs.begin(), one.log_probs.end());
    }
  }
  return result;
}

internal::v1::InferenceResult ToResult(uint64_t call_id, const absl::StatusOr<runtime::SummaryReply>& reply) {
  internal::v1::InferenceResult result = BeginResult(call_id, reply);
  if (!reply.ok()) return result;
  result.mutable_ignored_options()->Add(reply->ignored_options.begin(), reply->ignored_options.end());
  for (const runtime::SummaryRow& row : reply->rows) {
    v1::Summary& summary = *AddRow(row, result).mutable_summary();
    summary.set_summary(row.summary);
    summary.set_kind(reply->extractive ? v1::Summary::EXTRACTIVE : v1::Summary::ABSTRACTIVE);
    summary.mutable_sentences()->Add(row.sentences.begin(), row.sentences.end());
    summary.set_input_tokens(row.input_tokens);
    summary.set_truncated(row.truncated);
    summary.set_output_tokens(row.output_tokens);
  }
  return result;
}

}  // namespace tenon::link
