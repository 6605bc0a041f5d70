#include "client/tenon_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/synchronization/notification.h"
#include "tests/client/in_process_server.h"

namespace tenon::client {
namespace {

// Answers as a test wants; a call that it holds ends when the client gives up.
class ScriptedAdmin final : public v1::AdminService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext*, const v1::GetStatusRequest*,
                                      v1::GetStatusResponse* response) override {
    started.Notify();
    response->set_version("1.2.3");
    return new Reply(hold, ToGrpcStatus(answer));
  }

  absl::Notification started;
  bool hold = false;
  absl::Status answer;

 private:
  class Reply final : public grpc::ServerUnaryReactor {
   public:
    Reply(bool hold, const grpc::Status& status) : hold_(hold) {
      if (!hold) Finish(status);
    }
    void OnCancel() override {
      if (hold_) Finish(grpc::Status::CANCELLED);
    }
    void OnDone() override { delete this; }

   private:
    const bool hold_;
  };
};

absl::StatusOr<v1::GetStatusResponse> GetStatus(Client& client) {
  return client.Call(client.admin(), &v1::AdminService::Stub::GetStatus, v1::GetStatusRequest());
}

TEST(Client, ReturnsTheReply) {
  ScriptedAdmin admin;
  InProcessServer server({&admin});
  Client client({.server = server.address()});
  const auto status = GetStatus(client);
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->version(), "1.2.3");
}

TEST(Client, ErrorsKeepReasonAndField) {
  ScriptedAdmin admin;
  admin.answer = TenonError(Reason::kTextEmpty, "The text is empty.", "texts[3]");
  InProcessServer server({&admin});
  Client client({.server = server.address()});
  const absl::Status status = GetStatus(client).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetReason(status), Reason::kTextEmpty);
  EXPECT_EQ(GetField(status), "texts[3]");
  EXPECT_EQ(std::string(status.message()), "The text is empty.");
}

TEST(Client, AnUnreachableServerIsNamed) {
  std::string address;
  {
    ScriptedAdmin admin;
    InProcessServer server({&admin});
    address = server.address();
  }
  Client client({.server = address});
  const absl::Status status = GetStatus(client).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(address));
}

TEST(Client, ADeadlinePasses) {
  ScriptedAdmin admin;
  admin.hold = true;
  InProcessServer server({&admin});
  Client client({.server = server.address(), .timeout = absl::Milliseconds(50)});
  const absl::Status status = GetStatus(client).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(GetReason(status), Reason::kDeadlineExceeded);
}

TEST(Client, CancelEndsCallsUnderWayAndLaterOnes) {
  ScriptedAdmin admin;
  admin.hold = true;
  InProcessServer server({&admin});
  Calls calls;
  Client client({.server = server.address()}, &calls);
  std::thread canceller([&] {
    admin.started.WaitForNotification();
    calls.Cancel();
  });
  const absl::Status status = GetStatus(client).status();
  canceller.join();
  EXPECT_EQ(GetReason(status), Reason::kCancelled);
  EXPECT_TRUE(calls.cancelled());
  EXPECT_EQ(GetReason(GetStatus(client).status()), Reason::kCancelled);
}

TEST(Client, KnowsLoopback) {
  const auto loopback = [](const std::string& server) { return Client({.server = server}).IsLoopback(); };
  EXPECT_TRUE(loopback("127.0.0.1:7070"));
  EXPECT_TRUE(loopback("127.3.2.1:1"));
  EXPECT_TRUE(loopback("localhost:7070"));
  EXPECT_TRUE(loopback("[::1]:7070"));
  EXPECT_FALSE(loopback("10.0.0.1:7070"));
  EXPECT_FALSE(loopback("127.example.com:7070"));
}

TEST(Calls, WaitForCancelTimesOut) {
  Calls calls;
  EXPECT_FALSE(calls.WaitForCancel(absl::Milliseconds(1)));
  calls.Cancel();
  EXPECT_TRUE(calls.WaitForCancel(absl::Hours(1)));
}

}  // namespace
}  // namespace tenon::client
