#include "server/dispatch/charge.h"

#include <gtest/gtest.h>

#include <limits>

namespace tenon::server {
namespace {

using internal::v1::INFERENCE_KIND_CLASSIFY;
using internal::v1::INFERENCE_KIND_GENERATE;
using internal::v1::INFERENCE_KIND_SUMMARIZE;

InferenceCall Call(internal::v1::InferenceKind kind, std::vector<std::string> texts) {
  InferenceCall call;
  call.kind = kind;
  call.texts = std::move(texts);
  return call;
}

TEST(ChargeOf, IsAQuarterOfTheBytesAndAtLeastOneAText) {
  EXPECT_EQ(ChargeOf(Call(INFERENCE_KIND_CLASSIFY, {std::string(400, 'x')})), 100);
  EXPECT_EQ(ChargeOf(Call(INFERENCE_KIND_CLASSIFY, {"a", "b", "c"})), 3);
  EXPECT_EQ(ChargeOf(Call(INFERENCE_KIND_CLASSIFY, {})), 1);
}

TEST(ChargeOf, APairIsOneTextOfBoth) {
  InferenceCall call = Call(INFERENCE_KIND_CLASSIFY, {std::string(40, 'x'), "a"});
  call.text_pairs = {std::string(20, 'y'), ""};
  EXPECT_EQ(ChargeOf(call), 15 + 1);
}

TEST(ChargeOf, AddsWhatMayBeWrittenForEveryText) {
  InferenceCall call = Call(INFERENCE_KIND_GENERATE, {"a", "b"});
  EXPECT_EQ(ChargeOf(call), 2 + 2 * kDefaultReplyCharge);
  call.generation.set_max_length(30);
  EXPECT_EQ(ChargeOf(call), 2 + 2 * 30);
  call.generation.set_max_new_tokens(10);
  EXPECT_EQ(ChargeOf(call), 2 + 2 * 10) << "the `new` form wins";
  call.kind = INFERENCE_KIND_SUMMARIZE;
  EXPECT_EQ(ChargeOf(call), 2 + 2 * 10);
  call.kind = INFERENCE_KIND_CLASSIFY;
  EXPECT_EQ(ChargeOf(call), 2) << "nothing is written";
}

TEST(ChargeOf, AnAdaptersTemplateIsReadWithEveryText) {
  InferenceCall call = Call(INFERENCE_KIND_SUMMARIZE, {"a", "b"});
  call.generation.set_max_new_tokens(10);
  call.frame.emplace().set_before(std::string(300, 'x'));
  call.frame->set_after(std::string(99, 'x'));
  EXPECT_EQ(ChargeOf(call), 2 * 100 + 2 * 10);
}

TEST(ChargeOf, CountsEveryLineOfAText) {
  InferenceCall call = Call(INFERENCE_KIND_GENERATE, {"a"});
  call.generation.set_max_new_tokens(10);
  call.generation.set_num_beams(4);
  call.generation.set_num_return_sequences(2);
  EXPECT_EQ(ChargeOf(call), 1 + 4 * 10);
  call.generation.clear_num_beams();
  call.generation.set_do_sample(true);
  call.generation.set_num_return_sequences(5);
  EXPECT_EQ(ChargeOf(call), 1 + 5 * 10);
}

TEST(ChargeOf, AReplyThatMayBeLongDoesNotTakeAWholeWorker) {
  InferenceCall call = Call(INFERENCE_KIND_GENERATE, {"a"});
  call.generation.set_max_new_tokens(100'000);
  EXPECT_EQ(ChargeOf(call), 1 + kMaxReplyCharge);
  call.texts.assign(1024, "a");
  call.generation.set_num_beams(std::numeric_limits<int32_t>::max());
  EXPECT_EQ(ChargeOf(call), 1024 * (1 + 64 * kMaxReplyCharge)) << "in range, whatever is asked for";
}

TEST(TokensOf, IsWhatTheWorkerCounted) {
  internal::v1::InferenceResult result;
  result.set_input_tokens(100);
  EXPECT_EQ(TokensOf(Call(INFERENCE_KIND_CLASSIFY, {"a"}), result), 100);
  result.set_output_tokens(30);
  InferenceCall call = Call(INFERENCE_KIND_GENERATE, {"a"});
  EXPECT_EQ(TokensOf(call, result), 130);
  call.generation.set_num_return_sequences(3);
  call.generation.set_do_sample(true);
  EXPECT_EQ(TokensOf(call, result), 130) << "the worker counted all three";
}

TEST(TokensOf, BeamsThatWereNotKeptWereWrittenToo) {
  internal::v1::InferenceResult result;
  result.set_input_tokens(100);
  result.set_output_tokens(30);
  InferenceCall call = Call(INFERENCE_KIND_GENERATE, {"a"});
  call.generation.set_num_beams(4);
  EXPECT_EQ(TokensOf(call, result), 100 + 4 * 30);
  call.generation.set_num_return_sequences(2);
  EXPECT_EQ(TokensOf(call, result), 100 + 2 * 30);
}

}  // namespace
}  // namespace tenon::server
