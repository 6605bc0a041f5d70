// StreamGenerate through a real server, with scripted workers on the real wire: order, loss, ends, slow readers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/status_proto.h"
#include "tests/server/api/fake_worker.h"
#include "tests/server/api/server_fixture.h"

namespace tenon::server {
namespace {

using internal::v1::InferenceRequest;
using internal::v1::InferenceResult;

// Silent where texts are written, so that a test says each word; all else is answered at once.
std::optional<InferenceResult> OnlyScores(const InferenceRequest& request) {
  if (request.kind() == internal::v1::INFERENCE_KIND_GENERATE) return std::nullopt;
  return FakeWorker::Scores(request);
}

class StreamTest : public ServerFixture {
 protected:
  std::unique_ptr<FakeWorker> Worker(const std::string& id = "fake", FakeWorker::Answer answer = OnlyScores) {
    FakeWorker::Options options;
    options.id = id;
    options.session = "session-of-" + id;
    options.answer = std::move(answer);
    auto worker = std::make_unique<FakeWorker>(server_->ports().workers, options);
    EXPECT_TRUE(worker->WaitForWelcome());
    WaitForHealth("tenon.v1.InferenceService", true);
    return worker;
  }

  struct Call {
    explicit Call(std::unique_ptr<grpc::ClientContext> with) : context(std::move(with)) {}
    // The next message's text; `END` behind the last.
    std::string Next() { return reader->Read(&message) ? message.text() : "END"; }
    absl::Status Finish() { return FromGrpcStatus(reader->Finish()); }

    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientReader<v1::StreamGenerateResponse>> reader;
    v1::StreamGenerateResponse message;
  };
  std::unique_ptr<Call> Start(const v1::StreamGenerateRequest& request, int seconds = 30) {
    auto call = std::make_unique<Call>(Context(seconds));
    call->reader = inference_->StreamGenerate(call->context.get(), request);
    return call;
  }
  // A client that takes no more than 64 KiB ahead of what was read, however fast the network is.
  std::unique_ptr<v1::InferenceService::Stub> SlowClient() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 65'535);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return v1::InferenceService::NewStub(grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server_->ports().grpc),
                                                                   grpc::InsecureChannelCredentials(), arguments));
  }
  static v1::StreamGenerateRequest Request() {
    v1::StreamGenerateRequest request;
    request.set_base("mini");
    request.set_text("Once");
    return request;
  }
  // The worker's last word on the call.
  static InferenceResult Result(uint64_t call_id, const std::string& text, int tokens) {
    InferenceRequest request;
    request.set_call_id(call_id);
    request.add_texts("");
    request.set_kind(internal::v1::INFERENCE_KIND_GENERATE);
    InferenceResult result = *FakeWorker::Write(request);
    result.mutable_rows(0)->mutable_generation()->mutable_outputs(0)->set_text(text);
    result.set_output_tokens(tokens);
    return result;
  }
};

TEST_F(StreamTest, TextComesAsItIsWrittenAndTheLastMessageHoldsItAll) {
  const auto worker = Worker();
  v1::StreamGenerateRequest request = Request();
  request.mutable_generation()->set_do_sample(true);
  request.mutable_generation()->set_seed(3);
  request.set_max_input_tokens(7);
  const auto call = Start(request);
  const InferenceRequest sent = worker->WaitForRequests(1)[0];
  EXPECT_TRUE(sent.stream());
  EXPECT_EQ(sent.kind(), internal::v1::INFERENCE_KIND_GENERATE);
  EXPECT_EQ(sent.generation().seed(), 3u);
  EXPECT_EQ(sent.max_input_tokens(), 7);
  EXPECT_THAT(sent.texts(), ::testing::ElementsAre("Once"));

  worker->SendDelta(sent.call_id(), "upon ");
  EXPECT_EQ(call->Next(), "upon ");
  EXPECT_FALSE(call->message.has_generation());
  worker->SendDelta(sent.call_id(), "a time");
  EXPECT_EQ(call->Next(), "a time");
  InferenceResult result = Result(sent.call_id(), "upon a time", 4);
  result.add_ignored_options("top_k");
  worker->Send(result);
  EXPECT_EQ(call->Next(), "");
  EXPECT_EQ(call->message.generation().outputs(0).text(), "upon a time");
  EXPECT_EQ(call->message.generation().outputs(0).finish_reason(), v1::FINISH_REASON_EOS);
  EXPECT_EQ(call->message.model().base(), "bases/mini");
  EXPECT_EQ(call->message.usage().input_tokens(), 4);
  EXPECT_EQ(call->message.usage().output_tokens(), 4);
  EXPECT_THAT(call->message.ignored_options(), ::testing::ElementsAre("top_k"));
  EXPECT_EQ(call->Next(), "END");
  EXPECT_TRUE(call->Finish().ok());
}

TEST_F(StreamTest, AReplyWithoutTextStillEnds) {
  const auto worker = Worker();
  const auto call = Start(Request());
  worker->Send(Result(worker->WaitForRequests(1)[0].call_id(), "", 1));
  EXPECT_EQ(call->Next(), "");
  EXPECT_TRUE(call->message.has_generation());
  EXPECT_EQ(call->Next(), "END");
  EXPECT_TRUE(call->Finish().ok());
}

TEST_F(StreamTest, ErrorsBeforeTheFirstTextAreTheWholeAnswer) {
  const auto error = [this](const v1::StreamGenerateRequest& request) {
    const auto call = Start(request);
    EXPECT_EQ(call->Next(), "END");
    return call->Finish();
  };
  EXPECT_EQ(GetReason(error(Request())), Reason::kNoWorker);
  const auto worker = Worker("fake", [](const InferenceRequest& request) {
    InferenceResult result;
    result.set_call_id(request.call_id());
    *result.mutable_error() = ToErrorProto(TenonError(Reason::kFieldInvalid, "no", "max_new_tokens"));
    return std::optional(result);
  });
  EXPECT_EQ(GetField(error(Request())), "generation.max_new_tokens");
  v1::StreamGenerateRequest bad = Request();
  bad.mutable_generation()->set_num_beams(2);
  EXPECT_EQ(GetField(error(bad)), "generation.num_beams");
  bad = Request();
  bad.set_base("nobody");
  EXPECT_EQ(GetReason(error(bad)), Reason::kNotFound);
}

TEST_F(StreamTest, AnAnswerThatIsNotOneTextNeverReachesAClient) {
  const auto worker = Worker("fake", FakeWorker::Scores);
  const auto call = Start(Request());
  EXPECT_EQ(call->Next(), "END");
  EXPECT_EQ(GetReason(call->Finish()), Reason::kInternal);
}

TEST_F(StreamTest, ACancelledStreamIsStoppedOnItsWorker) {
  const auto worker = Worker();
  const auto call = Start(Request());
  const uint64_t id = worker->WaitForRequests(1)[0].call_id();
  worker->SendDelta(id, "some");
  EXPECT_EQ(call->Next(), "some");
  call->context->TryCancel();
  EXPECT_EQ(call->Finish().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(worker->WaitForCancels(1), ::testing::ElementsAre(id));
  // What the worker still says of it is void, and disturbs nothing.
  worker->SendDelta(id, "late");
  worker->Send(Result(id, "some late", 2));
  EXPECT_TRUE(Classify({"text"}).ok());
}

TEST_F(StreamTest, APassedDeadlineStopsTheStreamOnItsWorker) {
  const auto worker = Worker();
  auto context = Context();
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(400));
  Call call(std::move(context));
  call.reader = inference_->StreamGenerate(call.context.get(), Request());
  const InferenceRequest sent = worker->WaitForRequests(1)[0];
  EXPECT_GT(sent.timeout_ms(), 0);
  EXPECT_LE(sent.timeout_ms(), 410);
  worker->SendDelta(sent.call_id(), "some");
  EXPECT_EQ(call.Next(), "some");
  EXPECT_EQ(call.Next(), "END");
  EXPECT_EQ(call.Finish().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(worker->WaitForCancels(1).size(), 1u);
}

TEST_F(StreamTest, AWorkerLostBeforeTheFirstTextIsReplaced) {
  const auto doomed = Worker("doomed");
  const auto call = Start(Request());
  doomed->WaitForRequests(1);
  const auto heir = Worker("heir");
  doomed->Kill();
  const InferenceRequest again = heir->WaitForRequests(1)[0];
  EXPECT_TRUE(again.stream());
  heir->SendDelta(again.call_id(), "upon");
  EXPECT_EQ(call->Next(), "upon");
  heir->Send(Result(again.call_id(), "upon", 2));
  EXPECT_EQ(call->Next(), "");
  EXPECT_EQ(call->Next(), "END");
  EXPECT_TRUE(call->Finish().ok());
}

TEST_F(StreamTest, AWorkerLostInTheMiddleOfTheTextIsNot) {
  const auto doomed = Worker("doomed");
  const auto call = Start(Request());
  doomed->SendDelta(doomed->WaitForRequests(1)[0].call_id(), "upon");
  EXPECT_EQ(call->Next(), "upon");
  const auto heir = Worker("heir");
  doomed->Kill();
  EXPECT_EQ(call->Next(), "END") << "no word is said twice";
  const absl::Status status = call->Finish();
  EXPECT_EQ(GetReason(status), Reason::kWorkerLost);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("middle of the text"));
  EXPECT_TRUE(Classify({"text"}).ok());
  EXPECT_EQ(heir->WaitForRequests(1).size(), 1u) << "the stream was not begun anew";
}

TEST_F(StreamTest, AWorkerThatLeavesInTheMiddleOfTheTextEndsItToo) {
  const auto leaving = Worker("leaving");
  const auto call = Start(Request());
  const uint64_t id = leaving->WaitForRequests(1)[0].call_id();
  leaving->SendDelta(id, "upon");
  InferenceResult refusal;
  refusal.set_call_id(id);
  *refusal.mutable_error() = ToErrorProto(TenonError(Reason::kShuttingDown, "the worker is going down"));
  leaving->Send(refusal);
  EXPECT_EQ(call->Next(), "upon");
  EXPECT_EQ(call->Next(), "END");
  EXPECT_EQ(GetReason(call->Finish()), Reason::kWorkerLost);
}

TEST_F(StreamTest, AnotherWorkersWordsAreNotTheStreams) {
  const auto worker = Worker("one");
  const auto call = Start(Request());
  const uint64_t id = worker->WaitForRequests(1)[0].call_id();
  const auto stranger = Worker("two");
  // Calls without an adapter go to the worker with most room, as soon as it is there.
  const auto embed = [this] {
    v1::EmbedRequest request;
    request.set_base("mini");
    request.add_texts("text");
    v1::EmbedResponse response;
    return inference_->Embed(Context().get(), request, &response).ok();
  };
  while (stranger->WaitForRequests(0).empty()) ASSERT_TRUE(embed());
  stranger->SendDelta(id, "strange");
  ASSERT_TRUE(embed());  // answered behind it on the same stream
  worker->SendDelta(id, "own");
  EXPECT_EQ(call->Next(), "own");
}

// Behind what the client's window takes, one message waits, however many parts it has.
TEST_F(StreamTest, ASlowReaderGetsFewerMessagesAndHoldsNobodyUp) {
  const auto worker = Worker();
  const auto slow = SlowClient();
  const auto call = std::make_unique<Call>(Context());
  call->reader = slow->StreamGenerate(call->context.get(), Request());
  const uint64_t id = worker->WaitForRequests(1)[0].call_id();
  constexpr int kParts = 60;
  std::string whole;
  for (int i = 0; i < kParts; ++i) {
    const std::string part = absl::StrCat("<", i, ">", std::string(50'000, static_cast<char>('a' + i % 26)));
    worker->SendDelta(id, part);
    whole += part;
  }
  worker->Send(Result(id, "", kParts));
  // Behind all that on the same stream: the worker is free, and others are answered, though nobody has read a word.
  ASSERT_TRUE(Classify({"text"}).ok());

  std::string read;
  int messages = 0;
  v1::StreamGenerateResponse message;
  while (call->reader->Read(&message)) {
    ++messages;
    read += message.text();
    EXPECT_EQ(message.has_generation(), read.size() == whole.size());
  }
  EXPECT_TRUE(call->Finish().ok());
  EXPECT_EQ(read, whole) << "nothing is lost, doubled or out of order";
  EXPECT_LT(messages, 10);
}

TEST_F(StreamTest, AReaderThatNeverReadsIsCutOffAtItsDeadline) {
  const auto worker = Worker();
  auto context = Context();
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
  const auto slow = SlowClient();
  Call call(std::move(context));
  call.reader = slow->StreamGenerate(call.context.get(), Request());
  const uint64_t id = worker->WaitForRequests(1)[0].call_id();
  for (int i = 0; i < 20; ++i) worker->SendDelta(id, std::string(50'000, 'x'));
  EXPECT_THAT(worker->WaitForCancels(1), ::testing::ElementsAre(id));
  EXPECT_TRUE(Classify({"text"}).ok());
}

TEST_F(StreamTest, AServerThatGoesDownEndsItsStreams) {
  const auto worker = Worker();
  const auto call = Start(Request());
  worker->SendDelta(worker->WaitForRequests(1)[0].call_id(), "upon");
  EXPECT_EQ(call->Next(), "upon");
  server_->Shutdown();
  EXPECT_EQ(call->Next(), "END");
  EXPECT_FALSE(call->Finish().ok());
}

}  // namespace
}  // namespace tenon::server
