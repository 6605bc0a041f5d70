// Generation and summaries on the Work stream, against a scripted server.
#include "worker/link/work_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/worker/link/link_fixture.h"

namespace tenon::link {
namespace {

using ::testing::ElementsAre;

class WorkStreamTest : public LinkFixture {
 protected:
  static pb::WorkResponse Request(uint64_t id, pb::InferenceKind kind, bool stream = false) {
    pb::WorkResponse message;
    pb::InferenceRequest& request = *message.mutable_request();
    request.set_call_id(id);
    request.set_base_digest("base");
    request.set_kind(kind);
    request.add_texts("text");
    request.set_charge(1);
    request.set_stream(stream);
    return message;
  }
  static runtime::GenerationReply Reply(const std::string& text) {
    runtime::GenerationReply reply;
    reply.rows.emplace_back().sequences.push_back({.text = text});
    return reply;
  }
};

TEST_F(WorkStreamTest, DeltasComeInOrderBeforeTheResult) {
  Connect();
  server_.SendWork(Request(11, pb::INFERENCE_KIND_GENERATE, true));
  const auto call = runtime_.TakeGeneration();
  EXPECT_TRUE(call.in.stream);
  EXPECT_THAT(call.in.texts, ElementsAre("text"));
  call.callbacks.delta("one ");
  pb::WorkRequest message = server_.TakeWork();
  EXPECT_EQ(message.delta().call_id(), 11u);
  EXPECT_EQ(message.delta().text(), "one ");
  call.callbacks.delta("two ");
  call.callbacks.delta("three");
  call.callbacks.done(Reply("one two three"));
  std::string rest;
  for (message = server_.TakeWork(); message.has_delta(); message = server_.TakeWork()) rest += message.delta().text();
  EXPECT_EQ(rest, "two three");
  EXPECT_EQ(message.result().rows(0).generation().outputs(0).text(), "one two three");
}

TEST_F(WorkStreamTest, AStalledServerHoldsUpNobodyAndDeltasGrowTogether) {
  Connect();
  server_.SendWork(Request(11, pb::INFERENCE_KIND_GENERATE, true));
  const auto call = runtime_.TakeGeneration();
  server_.StallWork(true);
  constexpr int kDeltas = 3000;
  // Far beyond what a stream takes without being read: a write that waited would hang here.
  for (int i = 0; i < kDeltas; ++i) call.callbacks.delta(std::string(1000, static_cast<char>('a' + i % 26)));
  call.callbacks.done(Reply("all"));
  server_.StallWork(false);
  std::string text;
  int messages = 0;
  pb::WorkRequest message;
  for (message = server_.TakeWork(); message.has_delta(); message = server_.TakeWork()) {
    text += message.delta().text();
    ++messages;
  }
  EXPECT_TRUE(message.has_result());
  ASSERT_EQ(text.size(), size_t{kDeltas} * 1000);
  for (int i = 0; i < kDeltas; ++i) ASSERT_EQ(text[static_cast<size_t>(i) * 1000], static_cast<char>('a' + i % 26));
  EXPECT_LT(messages, kDeltas / 2);
}

TEST_F(WorkStreamTest, ACancelledCallWritesNothingMore) {
  Connect();
  server_.SendWork(Request(11, pb::INFERENCE_KIND_GENERATE, true));
  const auto call = runtime_.TakeGeneration();
  call.callbacks.delta("first");
  EXPECT_EQ(server_.TakeWork().delta().text(), "first");
  pb::WorkResponse cancel;
  cancel.mutable_cancel()->set_call_id(11);
  server_.SendWork(cancel);
  EXPECT_TRUE(runtime_.WaitForCancelled(call.id));
  call.callbacks.delta("second");
  call.callbacks.done(Reply("first second"));
  server_.SendWork(Request(12, pb::INFERENCE_KIND_GENERATE));
  runtime_.TakeGeneration().callbacks.done(Reply("other"));
  EXPECT_EQ(server_.TakeWork().result().call_id(), 12u);
}

TEST_F(WorkStreamTest, SummariesGoBothWays) {
  Connect();
  pb::WorkResponse message = Request(11, pb::INFERENCE_KIND_SUMMARIZE);
  message.mutable_request()->set_combine_chunks(true);
  server_.SendWork(message);
  const auto call = runtime_.TakeSummary();
  EXPECT_TRUE(call.in.combine_chunks);
  runtime::SummaryReply reply;
  reply.rows.push_back({.summary = "short", .truncated = true});
  call.done(reply);
  const pb::InferenceResult result = server_.TakeResult();
  EXPECT_EQ(result.rows(0).summary().summary(), "short");
  EXPECT_TRUE(result.rows(0).truncated());
}

TEST_F(WorkStreamTest, WhatCannotBeConvertedIsAnswered) {
  Connect();
  pb::WorkResponse message = Request(11, pb::INFERENCE_KIND_GENERATE);
  message.mutable_request()->mutable_generation()->set_early_stopping(static_cast<v1::EarlyStopping>(50));
  server_.SendWork(message);
  EXPECT_EQ(server_.TakeResult().error().field(), "early_stopping");
  server_.SendWork(Request(12, static_cast<pb::InferenceKind>(50)));
  EXPECT_EQ(server_.TakeResult().error().reason(), "INTERNAL");
}

TEST_F(WorkStreamTest, GenerationInFlightIsDroppedWithTheServer) {
  Connect();
  server_.SendWork(Request(11, pb::INFERENCE_KIND_GENERATE, true));
  const auto call = runtime_.TakeGeneration();
  server_.Shutdown();
  EXPECT_TRUE(runtime_.WaitForCancelled(call.id));
  call.callbacks.delta("late");
  call.callbacks.done(Reply("late"));
}

}  // namespace
}  // namespace tenon::link
