// Classify and Embed through a real server, with scripted workers on the real wire.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "common/status_proto.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/server/api/fake_worker.h"
#include "tests/server/api/server_fixture.h"

namespace tenon::server {
namespace {

using internal::v1::InferenceRequest;
using internal::v1::InferenceResult;

FakeWorker::Answer Silence() {
  return [](const InferenceRequest&) { return std::nullopt; };
}

class InferenceTest : public ServerFixture {
 protected:
  std::unique_ptr<FakeWorker> Worker(FakeWorker::Options options = {}) {
    auto worker = std::make_unique<FakeWorker>(server_->ports().workers, std::move(options));
    EXPECT_TRUE(worker->WaitForWelcome());
    return worker;
  }
  std::unique_ptr<FakeWorker> Silent(const std::string& id) {
    FakeWorker::Options options;
    options.id = id;
    options.session = "session-of-" + id;
    options.answer = Silence();
    return Worker(options);
  }
  std::future<absl::Status> ClassifyLater(const std::string& text) {
    return std::async(std::launch::async, [this, text] { return Classify({text}); });
  }
};

TEST_F(InferenceTest, ClassifySortsLabelsByScoreAndSaysWhoAnswered) {
  const auto worker = Worker();
  WaitForHealth("tenon.v1.InferenceService", true);
  v1::ClassifyRequest request;
  request.set_adapter("topics");
  request.add_texts("one");
  request.add_texts("two");
  request.set_top_k(2);
  v1::ClassifyResponse response;
  const grpc::Status status = inference_->Classify(Context().get(), request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.classifications_size(), 2);
  const v1::Classification& first = response.classifications(0);
  EXPECT_EQ(first.label(), "sports");
  EXPECT_FLOAT_EQ(first.score(), .7f);
  ASSERT_EQ(first.classes_size(), 2);
  EXPECT_EQ(first.classes(0).label(), "sports");
  EXPECT_EQ(first.classes(1).label(), "world");
  EXPECT_EQ(first.input_tokens(), 4);
  EXPECT_EQ(response.model().base(), "bases/mini");
  EXPECT_EQ(response.model().adapter(), "adapters/topics");
  EXPECT_EQ(response.model().revision().size(), 64u);
  EXPECT_EQ(response.usage().input_tokens(), 8);

  const InferenceRequest sent = worker->WaitForRequests(1)[0];
  EXPECT_EQ(sent.adapter().digest(), response.model().revision());
  ASSERT_EQ(sent.adapter().files_size(), 1);
  EXPECT_EQ(sent.adapter().files(0).path(), "adapter_model.safetensors");
  EXPECT_EQ(sent.charge(), 2);
  EXPECT_GT(sent.timeout_ms(), 1000);
  EXPECT_LE(sent.timeout_ms(), 30'300);  // the wire carries three digits, rounded up
}

TEST_F(InferenceTest, EmbedWorksOnTheBaseAlone) {
  const auto worker = Worker();
  WaitForHealth("tenon.v1.InferenceService", true);
  v1::EmbedRequest request;
  request.set_base("mini");
  request.add_texts("one");
  request.set_pooling(v1::POOLING_CLS);
  request.set_normalize(false);
  v1::EmbedResponse response;
  const grpc::Status status = inference_->Embed(Context().get(), request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(response.embeddings(0).embedding(), ::testing::ElementsAre(.1f, .7f, .2f));
  EXPECT_EQ(response.model().adapter(), "");
  const InferenceRequest sent = worker->WaitForRequests(1)[0];
  EXPECT_FALSE(sent.has_adapter());
  EXPECT_EQ(sent.kind(), internal::v1::INFERENCE_KIND_EMBED);
  EXPECT_EQ(sent.pooling(), v1::POOLING_CLS);
  EXPECT_TRUE(sent.has_normalize());
  EXPECT_FALSE(sent.normalize());
}

TEST_F(InferenceTest, PairsReachTheWorker) {
  const auto worker = Worker();
  WaitForHealth("tenon.v1.InferenceService", true);
  v1::ClassifyRequest request;
  request.set_adapter("topics");
  for (const char* text : {"one", "two"}) request.add_texts(text);
  for (const char* text : {"", "its pair"}) request.add_text_pairs(text);
  v1::ClassifyResponse response;
  const grpc::Status status = inference_->Classify(Context().get(), request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.classifications_size(), 2);
  EXPECT_THAT(worker->WaitForRequests(1)[0].text_pairs(), ::testing::ElementsAre("", "its pair"));
}

TEST_F(InferenceTest, BadRequestsNameTheirField) {
  v1::ClassifyRequest request;
  request.set_adapter("topics");
  v1::ClassifyResponse response;
  const auto error = [&] { return FromGrpcStatus(inference_->Classify(Context().get(), request, &response)); };

  EXPECT_EQ(GetReason(error()), Reason::kFieldRequired);
  EXPECT_EQ(GetField(error()), "texts");
  request.add_texts("good");
  request.add_texts("  \n ");
  EXPECT_EQ(GetReason(error()), Reason::kTextEmpty);
  EXPECT_EQ(GetField(error()), "texts[1]");
  request.set_texts(1, std::string(10'000'000, 'x'));
  EXPECT_EQ(GetReason(error()), Reason::kTextTooLarge);
  request.set_texts(1, "good");
  request.add_text_pairs("one alone");
  EXPECT_EQ(GetReason(error()), Reason::kFieldInvalid);
  EXPECT_EQ(GetField(error()), "text_pairs");
  request.add_text_pairs("\t");
  EXPECT_EQ(GetReason(error()), Reason::kTextEmpty);
  EXPECT_EQ(GetField(error()), "text_pairs[1]");
  request.set_text_pairs(1, "");
  request.set_top_k(-1);
  EXPECT_EQ(GetField(error()), "top_k");
  request.set_top_k(0);
  request.set_adapter("nobody");
  EXPECT_EQ(GetReason(error()), Reason::kNotFound);
  EXPECT_EQ(GetField(error()), "adapter");
  request.set_base("mini");
  EXPECT_EQ(GetReason(error()), Reason::kNoClassifier);
  EXPECT_EQ(GetField(error()), "base");
  request.clear_base();
  EXPECT_EQ(GetField(error()), "model");
  request.set_adapter("topics");
  for (int i = 0; i < 1023; ++i) request.add_texts("x");
  EXPECT_EQ(GetReason(error()), Reason::kFieldInvalid);
  EXPECT_EQ(GetField(error()), "texts");
}

TEST_F(InferenceTest, ErrorsCarryGoogleRpcStatusInTheirTrailers) {
  v1::ClassifyRequest request;
  request.set_adapter("topics");
  v1::ClassifyResponse response;
  const auto context = Context();
  context->AddMetadata("x-request-id", "my-id-7");
  const grpc::Status status = inference_->Classify(context.get(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), static_cast<int>(grpc::StatusCode::INVALID_ARGUMENT));
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "FIELD_REQUIRED");
  EXPECT_EQ(info.domain(), "tenon");
  const auto& trailers = context->GetServerTrailingMetadata();
  ASSERT_EQ(trailers.count("x-request-id"), 1u);
  EXPECT_EQ(trailers.find("x-request-id")->second, "my-id-7");
}

TEST_F(InferenceTest, WithoutAWorkerTheAnswerIsNoWorkerAtOnce) {
  EXPECT_EQ(GetReason(Classify({"text"})), Reason::kNoWorker);
}

TEST_F(InferenceTest, CallsWaitForABaseThatIsBeingLoaded) {
  FakeWorker::Options options;
  options.load_bases = false;
  const auto loading = Worker(options);
  auto later = ClassifyLater("waits");
  // A second worker has it first.
  FakeWorker::Options other;
  other.id = "other";
  other.session = "session-2";
  const auto ready = Worker(other);
  EXPECT_TRUE(later.get().ok());
  EXPECT_EQ(ready->WaitForRequests(1).size(), 1u);
}

TEST_F(InferenceTest, ACancelledCallIsStoppedOnItsWorker) {
  const auto worker = Silent("silent");
  WaitForHealth("tenon.v1.InferenceService", true);
  v1::ClassifyRequest request;
  request.set_adapter("topics");
  request.add_texts("text");
  v1::ClassifyResponse response;
  const auto context = Context();
  auto call = std::async(std::launch::async, [&] { return inference_->Classify(context.get(), request, &response); });
  const uint64_t id = worker->WaitForRequests(1)[0].call_id();
  context->TryCancel();
  EXPECT_EQ(call.get().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_THAT(worker->WaitForCancels(1), ::testing::ElementsAre(id));
}

TEST_F(InferenceTest, APassedDeadlineStopsTheCallOnItsWorker) {
  const auto worker = Silent("silent");
  WaitForHealth("tenon.v1.InferenceService", true);
  v1::ClassifyRequest request;
  request.set_adapter("topics");
  request.add_texts("text");
  v1::ClassifyResponse response;
  const auto context = Context();
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  EXPECT_EQ(inference_->Classify(context.get(), request, &response).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(worker->WaitForCancels(1).size(), 1u);
  EXPECT_LE(worker->WaitForRequests(1)[0].timeout_ms(), 300);
}

TEST_F(InferenceTest, ALostWorkersCallGoesToAnother) {
  auto doomed = Silent("doomed");
  WaitForHealth("tenon.v1.InferenceService", true);
  auto later = ClassifyLater("text");
  doomed->WaitForRequests(1);
  FakeWorker::Options options;
  options.id = "heir";
  options.session = "session-2";
  const auto heir = Worker(options);
  doomed->Kill();
  EXPECT_TRUE(later.get().ok());
  EXPECT_EQ(heir->WaitForRequests(1).size(), 1u);
}

TEST_F(InferenceTest, ACallThatAWorkerRefusesOnItsWayOutGoesToAnother) {
  const auto leaving = Silent("leaving");
  WaitForHealth("tenon.v1.InferenceService", true);
  auto later = ClassifyLater("text");
  InferenceResult refusal;
  refusal.set_call_id(leaving->WaitForRequests(1)[0].call_id());
  *refusal.mutable_error() = ToErrorProto(TenonError(Reason::kShuttingDown, "the worker is going down"));
  leaving->Send(refusal);
  FakeWorker::Options options;
  options.id = "heir";
  options.session = "session-2";
  const auto heir = Worker(options);
  EXPECT_TRUE(later.get().ok());
  EXPECT_EQ(heir->WaitForRequests(1).size(), 1u);
  EXPECT_TRUE(Classify({"another"}).ok()) << "the one that goes is asked no more";
}

TEST_F(InferenceTest, TheSameWorkerMayAnswerAfterItsReconnect) {
  auto worker = Silent("one");
  WaitForHealth("tenon.v1.InferenceService", true);
  auto later = ClassifyLater("text");
  worker->WaitForRequests(1);
  worker->Kill();
  FakeWorker::Options options;
  options.id = "one";
  options.session = "session-of-one";
  const auto back = Worker(options);
  EXPECT_TRUE(later.get().ok());
}

TEST_F(InferenceTest, TwoLossesAreTheEnd) {
  auto first = Silent("first");
  WaitForHealth("tenon.v1.InferenceService", true);
  auto later = ClassifyLater("text");
  first->WaitForRequests(1);
  const auto second = Silent("second");
  first->Kill();
  second->WaitForRequests(1);
  second->Kill();
  const absl::Status status = later.get();
  EXPECT_EQ(GetReason(status), Reason::kWorkerLost);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(InferenceTest, AWorkersErrorKeepsItsReason) {
  FakeWorker::Options options;
  options.answer = [](const InferenceRequest& request) {
    InferenceResult result;
    result.set_call_id(request.call_id());
    *result.mutable_error() = ToErrorProto(TenonError(Reason::kOutOfMemory, "no room", "texts[0]"));
    return std::optional(result);
  };
  const auto worker = Worker(options);
  WaitForHealth("tenon.v1.InferenceService", true);
  const absl::Status status = Classify({"text"});
  EXPECT_EQ(GetReason(status), Reason::kOutOfMemory);
  EXPECT_EQ(GetField(status), "texts[0]");
}

TEST_F(InferenceTest, AReplyOfTheWrongShapeNeverReachesAClient) {
  FakeWorker::Options options;
  options.answer = [](const InferenceRequest& request) {
    auto result = FakeWorker::Scores(request);
    result->mutable_rows()->RemoveLast();
    return result;
  };
  const auto worker = Worker(options);
  WaitForHealth("tenon.v1.InferenceService", true);
  const absl::Status status = Classify({"one", "two"});
  EXPECT_EQ(GetReason(status), Reason::kInternal);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("details of request"));
}

class TinyQueueTest : public InferenceTest {
 protected:
  void Configure(ServerOptions* options) override { options->max_queued_texts = 2; }
};

TEST_F(TinyQueueTest, AFullQueueRefusesWithAHint) {
  FakeWorker::Options options;
  options.credits = 1;
  options.answer = Silence();
  const auto worker = Worker(options);
  WaitForHealth("tenon.v1.InferenceService", true);
  auto running = ClassifyLater("runs");
  worker->WaitForRequests(1);
  v1::ClassifyRequest request;
  request.set_adapter("topics");
  for (const char* text : {"a", "b", "c"}) request.add_texts(text);
  v1::ClassifyResponse response;
  const grpc::Status status = inference_->Classify(Context().get(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(GetReason(FromGrpcStatus(status)), Reason::kQueueFull);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(details.details(details.details_size() - 1).UnpackTo(&retry));
  EXPECT_GT(retry.retry_delay().seconds(), 0);
  server_->Shutdown();
  EXPECT_EQ(running.get().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace tenon::server
