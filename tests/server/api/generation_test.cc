// Generate and Summarize through a real server, with scripted workers on the real wire.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "common/status_proto.h"
#include "tests/server/api/fake_worker.h"
#include "tests/server/api/server_fixture.h"

namespace tenon::server {
namespace {

using internal::v1::InferenceRequest;
using internal::v1::InferenceResult;

class GenerationTest : public ServerFixture {
 protected:
  std::unique_ptr<FakeWorker> Worker(FakeWorker::Answer answer = FakeWorker::Write, const std::string& id = "fake") {
    FakeWorker::Options options;
    options.id = id;
    options.session = "session-of-" + id;
    options.answer = std::move(answer);
    auto worker = std::make_unique<FakeWorker>(server_->ports().workers, options);
    EXPECT_TRUE(worker->WaitForWelcome());
    WaitForHealth("tenon.v1.InferenceService", true);
    return worker;
  }
  absl::Status Generate(const v1::GenerateRequest& request, v1::GenerateResponse* response) {
    return FromGrpcStatus(inference_->Generate(Context().get(), request, response));
  }
  absl::Status Summarize(const v1::SummarizeRequest& request, v1::SummarizeResponse* response) {
    return FromGrpcStatus(inference_->Summarize(Context().get(), request, response));
  }
};

// What a worker would say of every call.
FakeWorker::Answer Refusal(absl::Status error) {
  return [error = std::move(error)](const InferenceRequest& request) {
    InferenceResult result;
    result.set_call_id(request.call_id());
    *result.mutable_error() = ToErrorProto(error);
    return std::optional(result);
  };
}

TEST_F(GenerationTest, GenerateAnswersInOrderAndSaysWhoAnswered) {
  const auto worker = Worker([](const InferenceRequest& request) {
    auto result = FakeWorker::Write(request);
    result->add_ignored_options("temperature");
    return result;
  });
  v1::GenerateRequest request;
  request.set_adapter("topics");
  request.add_texts("one");
  request.add_texts("two");
  request.mutable_generation()->set_max_new_tokens(10);
  request.mutable_generation()->set_num_beams(4);
  request.mutable_generation()->add_stop_strings("\n");
  request.mutable_generation()->set_seed(7);
  request.set_max_input_tokens(99);
  v1::GenerateResponse response;
  const absl::Status status = Generate(request, &response);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(response.generations_size(), 2);
  EXPECT_EQ(response.generations(0).outputs(0).text(), "one!");
  EXPECT_EQ(response.generations(1).outputs(0).text(), "two!");
  EXPECT_EQ(response.generations(1).output_tokens(), 3);
  EXPECT_EQ(response.model().adapter(), "adapters/topics");
  EXPECT_EQ(response.usage().input_tokens(), 8);
  EXPECT_EQ(response.usage().output_tokens(), 6);
  EXPECT_THAT(response.ignored_options(), ::testing::ElementsAre("temperature"));

  const InferenceRequest sent = worker->WaitForRequests(1)[0];
  EXPECT_EQ(sent.kind(), internal::v1::INFERENCE_KIND_GENERATE);
  EXPECT_EQ(sent.generation().SerializeAsString(), request.generation().SerializeAsString());
  EXPECT_EQ(sent.max_input_tokens(), 99);
  EXPECT_FALSE(sent.stream());
  EXPECT_EQ(sent.charge(), 2 + 2 * 4 * 10) << "what may be written is charged too";
  EXPECT_EQ(sent.adapter().digest(), response.model().revision());
}

TEST_F(GenerationTest, SummarizePassesItsOptionsOnAndKeepsTheKind) {
  const auto worker = Worker([](const InferenceRequest& request) {
    auto result = FakeWorker::Write(request);
    auto* summary = result->mutable_rows(1)->mutable_summary();
    summary->set_kind(v1::Summary::EXTRACTIVE);
    summary->add_sentences(0);
    summary->add_sentences(4);
    summary->set_truncated(true);
    return result;
  });
  v1::SummarizeRequest request;
  request.set_base("mini");
  request.add_texts("one");
  request.add_texts("two");
  request.mutable_extractive()->set_max_sentences(2);
  request.mutable_extractive()->set_relevance(0);
  request.mutable_generation()->set_min_new_tokens(5);
  request.set_max_input_tokens(50);
  request.set_combine_chunks(true);
  v1::SummarizeResponse response;
  const absl::Status status = Summarize(request, &response);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(response.summaries(0).summary(), "one!");
  EXPECT_EQ(response.summaries(0).kind(), v1::Summary::ABSTRACTIVE);
  EXPECT_EQ(response.summaries(1).kind(), v1::Summary::EXTRACTIVE);
  EXPECT_THAT(response.summaries(1).sentences(), ::testing::ElementsAre(0, 4));
  EXPECT_TRUE(response.summaries(1).truncated());
  EXPECT_EQ(response.model().base(), "bases/mini");
  EXPECT_EQ(response.usage().output_tokens(), 6);

  const InferenceRequest sent = worker->WaitForRequests(1)[0];
  EXPECT_EQ(sent.kind(), internal::v1::INFERENCE_KIND_SUMMARIZE);
  EXPECT_EQ(sent.extractive().SerializeAsString(), request.extractive().SerializeAsString());
  EXPECT_EQ(sent.generation().min_new_tokens(), 5);
  EXPECT_EQ(sent.max_input_tokens(), 50);
  EXPECT_TRUE(sent.combine_chunks());
}

TEST_F(GenerationTest, SummarizePutsTextsIntoTheAdaptersTemplate) {
  const auto worker = Worker();
  v1::SummarizeRequest request;
  request.set_adapter("talks");
  request.add_texts("one {dialogue}");
  v1::SummarizeResponse response;
  const absl::Status status = Summarize(request, &response);
  ASSERT_TRUE(status.ok()) << status;
  request.set_base("mini");
  ASSERT_TRUE(Summarize(request, &response).ok());
  const auto sent = worker->WaitForRequests(2);
  EXPECT_EQ(sent[0].texts(0), "one {dialogue}") << "the worker cuts it between sentences first";
  EXPECT_EQ(sent[0].frame().before(), "Short: ");
  EXPECT_EQ(sent[0].frame().after(), " =>");
  EXPECT_FALSE(sent[1].has_frame()) << "the base's own prefix";
}

TEST_F(GenerationTest, OneTextDoesNotFillATemplateOfTwoFields) {
  const auto worker = Worker();
  v1::SummarizeRequest request;
  request.set_adapter("answers");
  request.add_texts("one");
  v1::SummarizeResponse response;
  const absl::Status status = Summarize(request, &response);
  EXPECT_EQ(GetReason(status), Reason::kTemplateFields) << status;
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetField(status), "adapter");
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("{question} of {text}"));
  v1::GenerateRequest generate;
  generate.set_adapter("answers");
  generate.add_texts("one");
  v1::GenerateResponse generated;
  EXPECT_TRUE(Generate(generate, &generated).ok()) << "texts of Generate are taken as they are";
}

TEST_F(GenerationTest, BadRequestsNeverReachAWorker) {
  const auto worker = Worker();
  v1::GenerateRequest request;
  request.set_base("mini");
  request.add_texts("one");
  request.mutable_generation()->set_temperature(0);
  v1::GenerateResponse response;
  EXPECT_EQ(GetField(Generate(request, &response)), "generation.temperature");
  request.clear_generation();
  request.set_base("nobody");
  EXPECT_EQ(GetReason(Generate(request, &response)), Reason::kNotFound);
  v1::SummarizeRequest summarize;
  summarize.set_base("mini");
  v1::SummarizeResponse summaries;
  EXPECT_EQ(GetField(Summarize(summarize, &summaries)), "texts");
  request.set_base("mini");
  EXPECT_TRUE(Generate(request, &response).ok());
  EXPECT_EQ(worker->WaitForRequests(1).size(), 1u);
}

TEST_F(GenerationTest, ABaseThatDoesNotWriteIsNamed) {
  const auto worker = Worker(Refusal(TenonError(Reason::kNotGenerative, "the base only encodes")));
  v1::GenerateRequest request;
  request.set_base("mini");
  request.add_texts("one");
  v1::GenerateResponse response;
  const absl::Status status = Generate(request, &response);
  EXPECT_EQ(GetReason(status), Reason::kNotGenerative);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetField(status), "base");
}

TEST_F(GenerationTest, AnOptionThatTheWorkerRefusesIsNamedByItsPath) {
  const auto worker = Worker(Refusal(TenonError(Reason::kFieldInvalid, "too many", "num_beams")));
  v1::SummarizeRequest request;
  request.set_base("mini");
  request.add_texts("one");
  v1::SummarizeResponse response;
  EXPECT_EQ(GetField(Summarize(request, &response)), "generation.num_beams");
}

TEST_F(GenerationTest, RowsWithoutTheirTextNeverReachAClient) {
  const auto worker = Worker(FakeWorker::Scores);
  v1::GenerateRequest request;
  request.set_base("mini");
  request.add_texts("one");
  v1::GenerateResponse response;
  EXPECT_EQ(GetReason(Generate(request, &response)), Reason::kInternal);
  v1::SummarizeRequest summarize;
  summarize.set_base("mini");
  summarize.add_texts("one");
  v1::SummarizeResponse summaries;
  EXPECT_EQ(GetReason(Summarize(summarize, &summaries)), Reason::kInternal);
}

TEST_F(GenerationTest, ACancelledCallIsStoppedOnItsWorker) {
  const auto worker = Worker([](const InferenceRequest&) { return std::nullopt; });
  v1::GenerateRequest request;
  request.set_base("mini");
  request.add_texts("one");
  v1::GenerateResponse response;
  const auto context = Context();
  auto call = std::async(std::launch::async, [&] { return inference_->Generate(context.get(), request, &response); });
  const uint64_t id = worker->WaitForRequests(1)[0].call_id();
  context->TryCancel();
  EXPECT_EQ(call.get().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_THAT(worker->WaitForCancels(1), ::testing::ElementsAre(id));
}

TEST_F(GenerationTest, ALostWorkersCallGoesToAnother) {
  const auto doomed = Worker([](const InferenceRequest&) { return std::nullopt; }, "doomed");
  v1::SummarizeRequest request;
  request.set_base("mini");
  request.add_texts("one");
  v1::SummarizeResponse response;
  auto call = std::async(std::launch::async, [&] { return Summarize(request, &response); });
  doomed->WaitForRequests(1);
  const auto heir = Worker(FakeWorker::Write, "heir");
  doomed->Kill();
  EXPECT_TRUE(call.get().ok());
  EXPECT_EQ(heir->WaitForRequests(1).size(), 1u);
}

}  // namespace
}  // namespace tenon::server
