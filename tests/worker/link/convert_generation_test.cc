#include "worker/link/convert_generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "worker/link/convert.h"

namespace tenon::link {
namespace {

namespace pb = internal::v1;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kNow = absl::FromUnixSeconds(1000);

pb::InferenceRequest Request(pb::InferenceKind kind) {
  pb::InferenceRequest request;
  request.set_call_id(7);
  request.set_base_digest("base");
  request.mutable_adapter()->set_digest("adapter");
  request.set_kind(kind);
  request.add_texts("one");
  request.add_texts("two");
  request.set_timeout_ms(1500);
  return request;
}

TEST(ToGenerationOptions, WhatIsLeftOutStaysOpen) {
  const auto options = ToGenerationOptions({});
  ASSERT_TRUE(options.ok());
  EXPECT_FALSE(options->max_new_tokens.has_value());
  EXPECT_FALSE(options->num_beams.has_value());
  EXPECT_FALSE(options->early_stopping.has_value());
  EXPECT_FALSE(options->do_sample.has_value());
  EXPECT_FALSE(options->seed.has_value());
  EXPECT_FALSE(options->return_scores);
  EXPECT_THAT(options->stop_strings, IsEmpty());
}

TEST(ToGenerationOptions, TakesEveryField) {
  v1::GenerationConfig config;
  config.set_max_new_tokens(1);
  config.set_min_new_tokens(2);
  config.set_max_length(3);
  config.set_min_length(0);
  config.set_num_beams(5);
  config.set_num_return_sequences(6);
  config.set_length_penalty(0);
  config.set_early_stopping(v1::EARLY_STOPPING_NEVER);
  config.set_do_sample(false);
  config.set_temperature(0.5);
  config.set_top_k(0);
  config.set_top_p(0.25);
  config.set_typical_p(0.75);
  config.set_seed(uint64_t{1} << 63);
  config.set_repetition_penalty(1.5);
  config.set_no_repeat_ngram_size(3);
  config.add_stop_strings("end");
  config.set_forced_bos_token_id(9);
  config.set_return_scores(true);
  const auto options = ToGenerationOptions(config);
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->max_new_tokens, 1);
  EXPECT_EQ(options->min_new_tokens, 2);
  EXPECT_EQ(options->max_length, 3);
  EXPECT_EQ(options->min_length, 0) << "set, though it is 0";
  EXPECT_EQ(options->num_beams, 5);
  EXPECT_EQ(options->num_return_sequences, 6);
  EXPECT_EQ(options->length_penalty, 0);
  EXPECT_EQ(options->early_stopping, engine::EarlyStopping::kNever);
  EXPECT_EQ(options->do_sample, false);
  EXPECT_EQ(options->temperature, 0.5);
  EXPECT_EQ(options->top_k, 0);
  EXPECT_EQ(options->top_p, 0.25);
  EXPECT_EQ(options->typical_p, 0.75);
  EXPECT_EQ(options->seed, uint64_t{1} << 63);
  EXPECT_EQ(options->repetition_penalty, 1.5);
  EXPECT_EQ(options->no_repeat_ngram_size, 3);
  EXPECT_THAT(options->stop_strings, ElementsAre("end"));
  EXPECT_EQ(options->forced_bos_token_id, 9);
  EXPECT_TRUE(options->return_scores);
}

TEST(ToGenerationOptions, KnowsEveryEarlyStopping) {
  v1::GenerationConfig config;
  config.set_early_stopping(v1::EARLY_STOPPING_TRUE);
  EXPECT_EQ(ToGenerationOptions(config)->early_stopping, engine::EarlyStopping::kTrue);
  config.set_early_stopping(v1::EARLY_STOPPING_FALSE);
  EXPECT_EQ(ToGenerationOptions(config)->early_stopping, engine::EarlyStopping::kFalse);
  config.set_early_stopping(static_cast<v1::EarlyStopping>(17));
  EXPECT_EQ(GetField(ToGenerationOptions(config).status()), "early_stopping");
}

TEST(ToGenerationCall, TakesTheRequest) {
  pb::InferenceRequest request = Request(pb::INFERENCE_KIND_GENERATE);
  request.mutable_generation()->add_bad_words("worse");
  request.mutable_generation()->set_num_beams(4);
  request.set_max_input_tokens(99);
  request.set_stream(true);
  const auto call = ToGenerationCall(request, kNow);
  ASSERT_TRUE(call.ok());
  EXPECT_EQ(call->base_digest, "base");
  EXPECT_EQ(call->adapter_digest, "adapter");
  EXPECT_THAT(call->texts, ElementsAre("one", "two"));
  EXPECT_THAT(call->bad_words, ElementsAre("worse"));
  EXPECT_EQ(call->options.num_beams, 4);
  EXPECT_EQ(call->max_input_tokens, 99);
  EXPECT_TRUE(call->stream);
  EXPECT_EQ(call->deadline, kNow + absl::Milliseconds(1500));
  request.set_timeout_ms(0);
  EXPECT_EQ(ToGenerationCall(request, kNow)->deadline, absl::InfiniteFuture());
}

TEST(ToSummaryCall, TakesTheRequest) {
  pb::InferenceRequest request = Request(pb::INFERENCE_KIND_SUMMARIZE);
  const auto plain = ToSummaryCall(request, kNow);
  ASSERT_TRUE(plain.ok());
  EXPECT_FALSE(plain->options.has_value());
  EXPECT_FALSE(plain->extractive.has_value());
  EXPECT_FALSE(plain->combine_chunks);
  EXPECT_FALSE(plain->frame.has_value());
  request.mutable_generation()->set_max_new_tokens(40);
  request.set_combine_chunks(true);
  request.set_max_input_tokens(300);
  request.mutable_extractive();
  request.mutable_frame()->set_before("short: ");
  auto call = ToSummaryCall(request, kNow);
  ASSERT_TRUE(call.ok());
  EXPECT_EQ(call->frame->before, "short: ");
  EXPECT_EQ(call->frame->after, "");
  EXPECT_EQ(call->options->max_new_tokens, 40);
  EXPECT_TRUE(call->combine_chunks);
  EXPECT_EQ(call->max_input_tokens, 300);
  EXPECT_FALSE(call->extractive->method.has_value()) << "the adapter says";
  EXPECT_EQ(call->extractive->max_sentences, 3);
  EXPECT_FALSE(call->extractive->relevance.has_value());
  request.mutable_extractive()->set_method(v1::EXTRACTIVE_METHOD_LEAD);
  request.mutable_extractive()->set_max_sentences(5);
  request.mutable_extractive()->set_relevance(0);
  call = ToSummaryCall(request, kNow);
  EXPECT_EQ(call->extractive->method, runtime::ExtractiveChoice::Method::kLead);
  EXPECT_EQ(call->extractive->max_sentences, 5);
  EXPECT_EQ(call->extractive->relevance, 0);
  request.mutable_extractive()->set_method(v1::EXTRACTIVE_METHOD_SCORER);
  EXPECT_EQ(ToSummaryCall(request, kNow)->extractive->method, runtime::ExtractiveChoice::Method::kScorer);
  request.mutable_extractive()->set_method(static_cast<v1::ExtractiveMethod>(9));
  EXPECT_EQ(GetField(ToSummaryCall(request, kNow).status()), "extractive.method");
}

TEST(ToResult, SaysWhatWasWritten) {
  runtime::GenerationReply reply;
  runtime::GenerationRow row;
  row.input_tokens = 5;
  row.output_tokens = 3;
  row.truncated = true;
  row.sequences.push_back(
      {.tokens = {4, 1}, .log_probs = {-1, -2}, .score = -3, .reason = engine::FinishReason::kEos, .text = "x"});
  row.sequences.push_back({.tokens = {6}, .reason = engine::FinishReason::kStopString, .text = "y"});
  reply.rows = {row, {.input_tokens = 2, .output_tokens = 1}};
  reply.ignored_options = {"top_k"};
  reply.queue_time = absl::Seconds(1);
  reply.compute_time = absl::Seconds(2);
  const pb::InferenceResult result = ToResult(7, absl::StatusOr<runtime::GenerationReply>(reply));
  EXPECT_EQ(result.call_id(), 7u);
  EXPECT_EQ(result.input_tokens(), 7);
  EXPECT_EQ(result.output_tokens(), 4);
  EXPECT_EQ(result.queue_seconds(), 1);
  EXPECT_EQ(result.compute_seconds(), 2);
  EXPECT_THAT(result.ignored_options(), ElementsAre("top_k"));
  ASSERT_EQ(result.rows_size(), 2);
  EXPECT_TRUE(result.rows(0).truncated());
  const v1::Generation& generation = result.rows(0).generation();
  EXPECT_EQ(generation.input_tokens(), 5);
  EXPECT_EQ(generation.output_tokens(), 3);
  EXPECT_TRUE(generation.truncated());
  ASSERT_EQ(generation.outputs_size(), 2);
  EXPECT_EQ(generation.outputs(0).text(), "x");
  EXPECT_EQ(generation.outputs(0).score(), -3);
  EXPECT_EQ(generation.outputs(0).finish_reason(), v1::FINISH_REASON_EOS);
  EXPECT_THAT(generation.outputs(0).token_ids(), ElementsAre(4, 1));
  EXPECT_THAT(generation.outputs(0).token_log_probs(), ElementsAre(-1, -2));
  EXPECT_EQ(generation.outputs(1).finish_reason(), v1::FINISH_REASON_STOP_STRING);
  EXPECT_THAT(generation.outputs(1).token_ids(), IsEmpty()) << "nobody asked";
}

TEST(ToResult, SaysWhatWasSummarized) {
  runtime::SummaryReply reply;
  reply.extractive = true;
  reply.rows = {{.summary = "a b", .sentences = {0, 4}, .input_tokens = 9, .truncated = true}};
  const pb::InferenceResult result = ToResult(7, absl::StatusOr<runtime::SummaryReply>(reply));
  const v1::Summary& summary = result.rows(0).summary();
  EXPECT_EQ(summary.summary(), "a b");
  EXPECT_EQ(summary.kind(), v1::Summary::EXTRACTIVE);
  EXPECT_THAT(summary.sentences(), ElementsAre(0, 4));
  EXPECT_EQ(summary.input_tokens(), 9);
  EXPECT_TRUE(summary.truncated());
  reply.extractive = false;
  reply.rows[0].output_tokens = 6;
  const pb::InferenceResult written = ToResult(7, absl::StatusOr<runtime::SummaryReply>(reply));
  EXPECT_EQ(written.rows(0).summary().kind(), v1::Summary::ABSTRACTIVE);
  EXPECT_EQ(written.rows(0).summary().output_tokens(), 6);
  EXPECT_EQ(written.output_tokens(), 6);
}

TEST(ToResult, AnErrorKeepsItsReasonAndField) {
  const absl::Status error = TenonError(Reason::kFieldInvalid, "too many", "num_beams");
  const pb::InferenceResult result = ToResult(7, absl::StatusOr<runtime::GenerationReply>(error));
  EXPECT_EQ(result.error().reason(), "FIELD_INVALID");
  EXPECT_EQ(result.error().field(), "num_beams");
  EXPECT_EQ(result.rows_size(), 0);
}

TEST(ToResult, ACheckedAdapterOfAWriterIsSeq2Seq) {
  runtime::InferenceReply reply;
  reply.adapter.task = "seq2seq";
  reply.adapter.method = "lora";
  const pb::InferenceResult result =
      ToResult(1, pb::INFERENCE_KIND_CHECK_ADAPTER, true, absl::StatusOr<runtime::InferenceReply>(reply));
  EXPECT_EQ(result.task(), v1::TASK_SEQ2SEQ);
  EXPECT_EQ(result.method(), v1::METHOD_LORA);
}

}  // namespace
}  // namespace tenon::link
