// The wrapper around every call, on a real gRPC server with handlers made for the test.
#include "server/api/guarded.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <future>
#include <stdexcept>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/status_proto.h"
#include "server/api/grpc_listener.h"
#include "tenon/v1/admin_service.grpc.pb.h"
#include "tenon/v1/catalog_service.grpc.pb.h"

namespace tenon::server {
namespace {

// GetStatus blocks, ListWorkers is asynchronous; what they do is the test's.
class Admin final : public v1::AdminService::CallbackService {
 public:
  explicit Admin(CallRunner* runner) : runner_(runner) {}
  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context, const v1::GetStatusRequest* request,
                                      v1::GetStatusResponse* response) override {
    return Guarded::Blocking(runner_, context, request, response, "tenon.v1.AdminService/GetStatus", blocking);
  }
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context, const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override {
    return Guarded::Async(runner_, context, request, response, "tenon.v1.AdminService/ListWorkers", async);
  }
  BlockingHandler<v1::GetStatusRequest, v1::GetStatusResponse> blocking;
  AsyncHandler<v1::ListWorkersRequest, v1::ListWorkersResponse> async;

 private:
  CallRunner* runner_;
};

// One stream each way.
class Catalog final : public v1::CatalogService::CallbackService {
 public:
  explicit Catalog(CallRunner* runner) : runner_(runner) {}
  grpc::ServerReadReactor<v1::UploadBaseRequest>* UploadBase(grpc::CallbackServerContext* context,
                                                             v1::Base* response) override {
    return Guarded::ClientStream<v1::UploadBaseRequest, v1::Base>(runner_, context, response,
                                                                  "tenon.v1.CatalogService/UploadBase", upload);
  }
  grpc::ServerWriteReactor<v1::ExportAdapterResponse>* ExportAdapter(grpc::CallbackServerContext* context,
                                                                     const v1::ExportAdapterRequest* request) override {
    if (push) {
      return Guarded::AsyncStream<v1::ExportAdapterRequest, v1::ExportAdapterResponse>(
          runner_, context, request, "tenon.v1.CatalogService/ExportAdapter", push);
    }
    return Guarded::ServerStream<v1::ExportAdapterRequest, v1::ExportAdapterResponse>(
        runner_, context, request, "tenon.v1.CatalogService/ExportAdapter", download);
  }
  ClientStreamHandler<v1::UploadBaseRequest, v1::Base> upload;
  ServerStreamHandler<v1::ExportAdapterRequest, v1::ExportAdapterResponse> download;
  AsyncStreamHandler<v1::ExportAdapterRequest, v1::ExportAdapterResponse> push;  // instead of `download`

 private:
  CallRunner* runner_;
};

class GuardedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto listener = GrpcListener::Start({.address = "127.0.0.1:0", .services = {&admin_, &catalog_}});
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    const auto channel =
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", listener_->port()), grpc::InsecureChannelCredentials());
    admin_stub_ = v1::AdminService::NewStub(channel);
    catalog_stub_ = v1::CatalogService::NewStub(channel);
  }
  absl::Status GetStatus(grpc::ClientContext* context, v1::GetStatusResponse* response = nullptr) {
    v1::GetStatusResponse ignored;
    return FromGrpcStatus(admin_stub_->GetStatus(context, {}, response == nullptr ? &ignored : response));
  }
  absl::Status GetStatus() {
    grpc::ClientContext context;
    return GetStatus(&context);
  }
  absl::Status ListWorkers(grpc::ClientContext* context) {
    v1::ListWorkersResponse response;
    return FromGrpcStatus(admin_stub_->ListWorkers(context, {}, &response));
  }
  // The line of a metric, such as `grpc_server_handled_total{...} 3`, that has all these parts.
  bool HasMetric(const std::vector<std::string>& parts) {
    const std::string page = prometheus::TextSerializer().Serialize(registry_.Collect());
    for (size_t start = 0; start < page.size();) {
      const size_t end = page.find('\n', start);
      const std::string line = page.substr(start, end - start);
      bool all = true;
      for (const std::string& part : parts) all = all && line.find(part) != std::string::npos;
      if (all) return true;
      start = end + 1;
    }
    return false;
  }

  prometheus::Registry registry_;
  RpcMetrics metrics_{registry_, {"tenon.v1.AdminService", "tenon.v1.CatalogService"}};
  CallRunner runner_{Clock::Real(), &metrics_, nullptr, {.threads = 1, .queue = 1, .streams = 1}};
  Admin admin_{&runner_};
  Catalog catalog_{&runner_};
  std::unique_ptr<GrpcListener> listener_;
  std::unique_ptr<v1::AdminService::Stub> admin_stub_;
  std::unique_ptr<v1::CatalogService::Stub> catalog_stub_;
};

TEST_F(GuardedTest, AHandlerKnowsItsCall) {
  CallContext seen;
  admin_.blocking = [&](const CallContext& call, const v1::GetStatusRequest&, v1::GetStatusResponse* response) {
    seen = call;
    response->set_version("7");
    return absl::OkStatus();
  };
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "abc");
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  v1::GetStatusResponse response;
  EXPECT_TRUE(GetStatus(&context, &response).ok());
  EXPECT_EQ(response.version(), "7");
  EXPECT_EQ(seen.tenant, "default");
  EXPECT_EQ(seen.request_id, "abc");
  EXPECT_TRUE(seen.loopback);
  EXPECT_LT(seen.deadline, absl::Now() + absl::Seconds(61));
  EXPECT_FALSE(seen.cancelled());
}

TEST_F(GuardedTest, AnUnfitRequestIdIsReplaced) {
  std::string id;
  admin_.blocking = [&](const CallContext& call, const v1::GetStatusRequest&, v1::GetStatusResponse*) {
    id = call.request_id;
    return absl::OkStatus();
  };
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "not fit");
  EXPECT_TRUE(GetStatus(&context).ok());
  EXPECT_EQ(id.size(), 12u);
}

TEST_F(GuardedTest, ErrorsKeepReasonAndField) {
  admin_.blocking = [](const CallContext&, const v1::GetStatusRequest&, v1::GetStatusResponse*) {
    return TenonError(Reason::kOptionInvalid, "r must be positive", "finetune_job.lora.r");
  };
  const absl::Status status = GetStatus();
  EXPECT_EQ(GetReason(status), Reason::kOptionInvalid);
  EXPECT_EQ(GetField(status), "finetune_job.lora.r");
}

TEST_F(GuardedTest, AnExceptionIsInternalAndKeepsItsWordsFromTheClient) {
  admin_.blocking = [](const CallContext&, const v1::GetStatusRequest&, v1::GetStatusResponse*) -> absl::Status {
    throw std::runtime_error("secret path");
  };
  const absl::Status status = GetStatus();
  EXPECT_EQ(GetReason(status), Reason::kInternal);
  EXPECT_EQ(std::string(status.message()).find("secret"), std::string::npos);
  admin_.async = [](const CallContext&, const v1::ListWorkersRequest&, v1::ListWorkersResponse*,
                    std::function<void(absl::Status)>, std::function<void()>*) { throw 42; };
  grpc::ClientContext context;
  EXPECT_EQ(GetReason(ListWorkers(&context)), Reason::kInternal);
  EXPECT_TRUE(HasMetric({"grpc_server_handled_total", "grpc_code=\"Internal\"", "GetStatus", "} 1"}));
}

TEST_F(GuardedTest, AFullPoolRefusesAtOnce) {
  absl::Notification entered, release;
  admin_.blocking = [&](const CallContext&, const v1::GetStatusRequest&, v1::GetStatusResponse*) {
    if (!entered.HasBeenNotified()) entered.Notify();
    release.WaitForNotification();
    return absl::OkStatus();
  };
  auto running = std::async(std::launch::async, [&] { return GetStatus(); });
  entered.WaitForNotification();
  auto waiting = std::async(std::launch::async, [&] { return GetStatus(); });
  while (runner_.calls().waiting() == 0) std::this_thread::yield();
  EXPECT_EQ(GetReason(GetStatus()), Reason::kQueueFull);
  release.Notify();
  EXPECT_TRUE(running.get().ok());
  EXPECT_TRUE(waiting.get().ok());
}

TEST_F(GuardedTest, ACallWhoseDeadlinePassedInTheQueueNeverRuns) {
  absl::Notification entered, release;
  std::atomic<int> ran = 0;
  admin_.blocking = [&](const CallContext&, const v1::GetStatusRequest&, v1::GetStatusResponse*) {
    ++ran;
    if (!entered.HasBeenNotified()) entered.Notify();
    release.WaitForNotification();
    return absl::OkStatus();
  };
  auto running = std::async(std::launch::async, [&] { return GetStatus(); });
  entered.WaitForNotification();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  auto waiting = std::async(std::launch::async, [&] { return GetStatus(&context); });
  while (runner_.calls().waiting() == 0) std::this_thread::yield();
  // The wire carries the time that is left, rounded up: the server's deadline is a little later than the client's.
  const absl::Time passed = absl::Now() + absl::Milliseconds(150);
  EXPECT_EQ(waiting.get().code(), absl::StatusCode::kDeadlineExceeded);
  while (absl::Now() < passed) std::this_thread::yield();
  release.Notify();
  EXPECT_TRUE(running.get().ok());
  listener_->Shutdown(absl::Seconds(10));
  EXPECT_EQ(ran, 1);
  EXPECT_TRUE(HasMetric({"grpc_server_handled_total", "DeadlineExceeded", "GetStatus", "} 1"}));
}

TEST_F(GuardedTest, CancelAnswersAnAsyncCallAndALateDoneIsHarmless) {
  absl::Notification started, told;
  std::function<void(absl::Status)> finish;
  v1::ListWorkersResponse* reply = nullptr;
  admin_.async = [&](const CallContext&, const v1::ListWorkersRequest&, v1::ListWorkersResponse* response,
                     std::function<void(absl::Status)> done, std::function<void()>* on_cancel) {
    finish = std::move(done);
    reply = response;
    *on_cancel = [&] { told.Notify(); };
    started.Notify();
  };
  grpc::ClientContext context;
  auto call = std::async(std::launch::async, [&] { return ListWorkers(&context); });
  started.WaitForNotification();
  context.TryCancel();
  EXPECT_EQ(call.get().code(), absl::StatusCode::kCancelled);
  told.WaitForNotification();
  listener_->Shutdown(absl::Seconds(10));
  reply->add_workers();  // gRPC's own response is gone; the handler's is not
  finish(absl::OkStatus());
  EXPECT_TRUE(HasMetric({"grpc_server_handled_total", "Canceled", "ListWorkers", "} 1"}));
}

TEST_F(GuardedTest, ClientStreamsAreReadOneByOne) {
  catalog_.upload = [](const CallContext&, StreamReader<v1::UploadBaseRequest>& reader, v1::Base* base) {
    v1::UploadBaseRequest message;
    while (reader.Read(&message))
      base->set_size_bytes(base->size_bytes() + static_cast<int64_t>(message.chunk().size()));
    return absl::OkStatus();
  };
  grpc::ClientContext context;
  v1::Base base;
  auto writer = catalog_stub_->UploadBase(&context, &base);
  v1::UploadBaseRequest message;
  message.set_chunk(std::string(100'000, 'x'));
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(writer->Write(message));
  writer->WritesDone();
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(base.size_bytes(), 5'000'000);
  EXPECT_TRUE(HasMetric({"grpc_server_msg_received_total", "UploadBase", "} 50"}));
}

TEST_F(GuardedTest, ASilentUploadDoesNotHoldUpOtherCalls) {
  absl::Notification reading;
  catalog_.upload = [&](const CallContext&, StreamReader<v1::UploadBaseRequest>& reader, v1::Base*) {
    reading.Notify();
    v1::UploadBaseRequest message;
    while (reader.Read(&message)) {
    }
    return absl::OkStatus();
  };
  admin_.blocking = [](const CallContext&, const v1::GetStatusRequest&, v1::GetStatusResponse*) {
    return absl::OkStatus();
  };
  grpc::ClientContext context;
  v1::Base base;
  auto writer = catalog_stub_->UploadBase(&context, &base);
  reading.WaitForNotification();
  EXPECT_TRUE(GetStatus().ok());  // there is one thread for all of its kind
  writer->WritesDone();
  EXPECT_TRUE(writer->Finish().ok());
}

TEST_F(GuardedTest, AClientStreamMayEndEarlyWithAnError) {
  catalog_.upload = [](const CallContext&, StreamReader<v1::UploadBaseRequest>& reader, v1::Base*) {
    v1::UploadBaseRequest message;
    reader.Read(&message);
    return TenonError(Reason::kTooLarge, "too large");
  };
  grpc::ClientContext context;
  v1::Base base;
  auto writer = catalog_stub_->UploadBase(&context, &base);
  v1::UploadBaseRequest message;
  message.set_chunk(std::string(1000, 'x'));
  while (writer->Write(message)) {
  }
  EXPECT_EQ(GetReason(FromGrpcStatus(writer->Finish())), Reason::kTooLarge);
}

TEST_F(GuardedTest, ServerStreamsAreWrittenOneByOne) {
  catalog_.download = [](const CallContext&, const v1::ExportAdapterRequest& request,
                         StreamWriter<v1::ExportAdapterResponse>& writer) {
    v1::ExportAdapterResponse message;
    for (int i = 0; i < 10; ++i) {
      message.mutable_file()->set_path(absl::StrCat(request.name(), i));
      if (!writer.Write(message)) return TenonError(Reason::kCancelled, "gone");
    }
    return absl::OkStatus();
  };
  grpc::ClientContext context;
  v1::ExportAdapterRequest request;
  request.set_name("f");
  auto reader = catalog_stub_->ExportAdapter(&context, request);
  v1::ExportAdapterResponse message;
  int count = 0;
  while (reader->Read(&message)) EXPECT_EQ(message.file().path(), absl::StrCat("f", count++));
  EXPECT_EQ(count, 10);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(GuardedTest, AServerStreamThatWaitsHearsOfTheClientsEnd) {
  absl::Notification waiting, ended;
  catalog_.download = [&](const CallContext& call, const v1::ExportAdapterRequest&,
                          StreamWriter<v1::ExportAdapterResponse>& writer) {
    auto gone = std::make_shared<absl::Notification>();
    call.when_cancelled([gone] { gone->Notify(); });
    waiting.Notify();
    gone->WaitForNotification();
    EXPECT_FALSE(writer.Write({}));
    ended.Notify();
    return TenonError(Reason::kCancelled, "gone");
  };
  grpc::ClientContext context;
  auto reader = catalog_stub_->ExportAdapter(&context, {});
  waiting.WaitForNotification();
  // The only stream's thread is taken.
  grpc::ClientContext second;
  auto refused = catalog_stub_->ExportAdapter(&second, {});
  v1::ExportAdapterResponse message;
  EXPECT_FALSE(refused->Read(&message));
  EXPECT_EQ(GetReason(FromGrpcStatus(refused->Finish())), Reason::kQueueFull);
  context.TryCancel();
  ended.WaitForNotification();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

using Sink = MessageSink<v1::ExportAdapterResponse>;

void AddName(Sink& sink, const std::string& name) {
  sink.Add([&name](v1::ExportAdapterResponse* next) { next->mutable_file()->mutable_path()->append(name); });
}

TEST_F(GuardedTest, WhatWasAddedIsWrittenBeforeTheEnd) {
  catalog_.push = [](const CallContext&, const v1::ExportAdapterRequest& request, std::shared_ptr<Sink> sink,
                     std::function<void()>*) {
    for (const char* part : {"a", "b", "c"}) AddName(*sink, request.name() + part);
    sink->End(TenonError(Reason::kWorkerLost, "lost"));
    AddName(*sink, "late");
    sink->End(absl::OkStatus());
  };
  grpc::ClientContext context;
  v1::ExportAdapterRequest request;
  request.set_name("x");
  auto reader = catalog_stub_->ExportAdapter(&context, request);
  std::string all;
  v1::ExportAdapterResponse message;
  while (reader->Read(&message)) all += message.file().path();
  EXPECT_EQ(all, "xaxbxc");
  EXPECT_EQ(GetReason(FromGrpcStatus(reader->Finish())), Reason::kWorkerLost);
  listener_->Shutdown(absl::Seconds(10));
  EXPECT_TRUE(HasMetric({"grpc_server_handled_total", "Unavailable", "ExportAdapter", "} 1"}));
}

TEST_F(GuardedTest, AnAsyncStreamThatIsCancelledEndsOnceAndLateWordsAreHarmless) {
  absl::Notification started, told;
  std::shared_ptr<Sink> kept;
  catalog_.push = [&](const CallContext&, const v1::ExportAdapterRequest&, std::shared_ptr<Sink> sink,
                      std::function<void()>* on_cancel) {
    kept = std::move(sink);
    *on_cancel = [&] { told.Notify(); };
    started.Notify();
  };
  grpc::ClientContext context;
  auto reader = catalog_stub_->ExportAdapter(&context, {});
  started.WaitForNotification();
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  told.WaitForNotification();
  listener_->Shutdown(absl::Seconds(10));
  AddName(*kept, "late");
  kept->End(absl::OkStatus());
  EXPECT_TRUE(HasMetric({"grpc_server_handled_total", "Canceled", "ExportAdapter", "} 1"}));
}

TEST_F(GuardedTest, AnExceptionOfAnAsyncStreamIsInternal) {
  catalog_.push = [](const CallContext&, const v1::ExportAdapterRequest&, std::shared_ptr<Sink>,
                     std::function<void()>*) { throw std::runtime_error("secret path"); };
  grpc::ClientContext context;
  auto reader = catalog_stub_->ExportAdapter(&context, {});
  v1::ExportAdapterResponse message;
  EXPECT_FALSE(reader->Read(&message));
  const absl::Status status = FromGrpcStatus(reader->Finish());
  EXPECT_EQ(GetReason(status), Reason::kInternal);
  EXPECT_EQ(std::string(status.message()).find("secret"), std::string::npos);
}

// A stream's parts come from many threads, faster than they are written.
TEST_F(GuardedTest, PartsFromManyThreadsAreAllWritten) {
  constexpr int kThreads = 4, kParts = 500;
  std::vector<std::thread> threads;
  absl::Notification all_started;
  catalog_.push = [&](const CallContext&, const v1::ExportAdapterRequest&, std::shared_ptr<Sink> sink,
                      std::function<void()>*) {
    auto left = std::make_shared<std::atomic<int>>(kThreads);
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([sink, left] {
        for (int part = 0; part < kParts; ++part) AddName(*sink, "x");
        if (--*left == 0) sink->End(absl::OkStatus());
      });
    }
    all_started.Notify();
  };
  grpc::ClientContext context;
  auto reader = catalog_stub_->ExportAdapter(&context, {});
  size_t read = 0;
  v1::ExportAdapterResponse message;
  while (reader->Read(&message)) read += message.file().path().size();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(read, size_t{kThreads * kParts});
  all_started.WaitForNotification();
  for (std::thread& thread : threads) thread.join();
}

TEST_F(GuardedTest, EveryMethodIsThereBeforeItsFirstCall) {
  EXPECT_TRUE(HasMetric({"grpc_server_started_total", "grpc_method=\"ListBases\"", "grpc_type=\"unary\"", "} 0"}));
  EXPECT_TRUE(HasMetric(
      {"grpc_server_handled_total", "grpc_method=\"UploadBase\"", "client_stream", "grpc_code=\"OK\"", "} 0"}));
  EXPECT_TRUE(HasMetric({"grpc_server_handling_seconds_count", "grpc_method=\"GetStatus\"", "} 0"}));
  EXPECT_FALSE(HasMetric({"grpc_server_handling_seconds_count", "grpc_method=\"ExportAdapter\""}));
}

TEST(GrpcListenerTest, ATakenPortIsAClearError) {
  const auto first = GrpcListener::Start({.address = "127.0.0.1:0"});
  ASSERT_TRUE(first.ok());
  const std::string address = absl::StrCat("127.0.0.1:", (*first)->port());
  const auto second = GrpcListener::Start({.address = address});
  EXPECT_EQ(GetReason(second.status()), Reason::kFieldInvalid);
  EXPECT_THAT(std::string(second.status().message()), ::testing::HasSubstr(address));
}

}  // namespace
}  // namespace tenon::server
