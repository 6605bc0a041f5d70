#include "worker/link/outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"

namespace tenon::link {
namespace {

using ::testing::ElementsAre;

Outbox::Result Result(uint64_t id) {
  return {id,
          {internal::v1::INFERENCE_KIND_GENERATE, false},
          absl::StatusOr<runtime::GenerationReply>(runtime::GenerationReply())};
}

// Everything, as `id:text` or `id!` for a result.
std::vector<std::string> TakeAll(Outbox& box) {
  std::vector<std::string> all;
  while (auto message = box.Next()) {
    const internal::v1::WorkRequest request = Outbox::ToRequest(*std::move(message));
    all.push_back(request.has_delta() ? std::to_string(request.delta().call_id()) + ":" + request.delta().text()
                                      : std::to_string(request.result().call_id()) + "!");
  }
  return all;
}

TEST(Outbox, DeltasThatWaitAreOneAndComeBeforeTheResult) {
  Outbox box;
  EXPECT_TRUE(box.empty());
  box.AddDelta(1, "a");
  box.AddDelta(2, "x");
  box.AddDelta(1, "b");
  box.AddResult(Result(1));
  box.AddDelta(2, "y");
  EXPECT_FALSE(box.empty());
  EXPECT_THAT(TakeAll(box), ElementsAre("1:ab", "1!", "2:xy"));
  EXPECT_TRUE(box.empty());
}

TEST(Outbox, CallsTakeTurns) {
  Outbox box;
  box.AddDelta(1, "a");
  box.AddDelta(2, "x");
  EXPECT_EQ(std::get<internal::v1::GenerationDelta>(*box.Next()).call_id(), 1u);
  box.AddDelta(1, "b");
  EXPECT_THAT(TakeAll(box), ElementsAre("2:x", "1:b"));
}

TEST(Outbox, WhatIsDroppedIsNotWritten) {
  Outbox box;
  box.AddDelta(1, "a");
  box.AddResult(Result(2));
  box.AddResult(Result(3));
  box.Drop(1);
  box.Drop(2);
  box.Drop(99);
  EXPECT_THAT(TakeAll(box), ElementsAre("3!"));
}

TEST(Outbox, EveryKindOfReplyIsConverted) {
  Outbox box;
  runtime::SummaryReply summary;
  summary.rows.push_back({.summary = "s"});
  box.AddResult({1, {internal::v1::INFERENCE_KIND_SUMMARIZE, false}, absl::StatusOr<runtime::SummaryReply>(summary)});
  runtime::InferenceReply labels;
  labels.rows = {{{0.5f}, 3, false}};
  labels.adapter.labels = {"a"};
  box.AddResult({2, {internal::v1::INFERENCE_KIND_CLASSIFY, false}, absl::StatusOr<runtime::InferenceReply>(labels)});
  box.AddResult({3,
                 {internal::v1::INFERENCE_KIND_GENERATE, true},
                 absl::StatusOr<runtime::GenerationReply>(TenonError(Reason::kNotGenerative, "no"))});
  EXPECT_EQ(Outbox::ToRequest(*box.Next()).result().rows(0).summary().summary(), "s");
  EXPECT_EQ(Outbox::ToRequest(*box.Next()).result().labels(0), "a");
  EXPECT_EQ(Outbox::ToRequest(*box.Next()).result().error().reason(), "NOT_GENERATIVE");
}

}  // namespace
}  // namespace tenon::link
