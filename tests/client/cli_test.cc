#include "client/cli/cli.h"

#include <gtest/gtest.h>

#include <latch>
#include <nlohmann/json.hpp>
#include <thread>

#include "common/formats/status.h"

namespace tenon::cli {
namespace {

TEST(ExitCode, ZeroOnlyForSuccess) {
  EXPECT_EQ(ExitCode(absl::OkStatus()), 0);
  for (int code = 1; code <= 16; ++code)
    EXPECT_NE(ExitCode(absl::Status(static_cast<absl::StatusCode>(code), "")), 0) << code;
}

TEST(ExitCode, FollowsTheTableOfTheHelp) {
  EXPECT_EQ(ExitCode(TenonError(Reason::kTextEmpty, "")), 2);
  EXPECT_EQ(ExitCode(TenonError(Reason::kNotFound, "")), 3);
  EXPECT_EQ(ExitCode(TenonError(Reason::kAlreadyExists, "")), 4);
  EXPECT_EQ(ExitCode(TenonError(Reason::kNoClassifier, "")), 4);
  EXPECT_EQ(ExitCode(TenonError(Reason::kLoopbackOnly, "")), 5);
  EXPECT_EQ(ExitCode(TenonError(Reason::kNoWorker, "")), 6);
  EXPECT_EQ(ExitCode(TenonError(Reason::kQueueFull, "")), 7);
  EXPECT_EQ(ExitCode(TenonError(Reason::kDeadlineExceeded, "")), 8);
  EXPECT_EQ(ExitCode(TenonError(Reason::kCancelled, "")), 130);
  EXPECT_EQ(ExitCode(absl::InternalError("")), 1);
}

TEST(FormatError, ShowsMessageReasonAndField) {
  EXPECT_EQ(FormatError(TenonError(Reason::kTextEmpty, "The text is empty.", "row 3"), false),
            "tenon: The text is empty. [TEXT_EMPTY, row 3]");
  EXPECT_EQ(FormatError(absl::NotFoundError("Cannot open x."), false), "tenon: Cannot open x. [NOT_FOUND]");
}

TEST(FormatError, AnUnreachableServerComesWithAdvice) {
  EXPECT_NE(FormatError(absl::UnavailableError("No answer."), false).find("tenon up"), std::string::npos);
  // A server that answered needs no advice on how to start one.
  EXPECT_EQ(FormatError(TenonError(Reason::kNoWorker, "No worker."), false).find("tenon up"), std::string::npos);
}

TEST(FormatError, JsonForScripts) {
  const auto json =
      nlohmann::json::parse(FormatError(TenonError(Reason::kTextEmpty, "The \"text\" is empty.", "texts[0]"), true));
  EXPECT_EQ(json["error"]["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(json["error"]["reason"], "TEXT_EMPTY");
  EXPECT_EQ(json["error"]["field"], "texts[0]");
  EXPECT_EQ(json["error"]["message"], "The \"text\" is empty.");
}

// The batches of one input ask for the client from several threads at once, before anyone made it.
TEST(Cli, ThreadsThatAskAtOnceShareOneClient) {
  constexpr size_t kThreads = 8;
  for (int round = 0; round < 20; ++round) {
    Cli cli;
    ASSERT_TRUE(cli.ReadSettings().ok());
    std::latch start(kThreads);
    std::vector<client::Client*> clients(kThreads);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        clients[i] = &cli.client();
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const client::Client* client : clients) EXPECT_EQ(client, clients[0]);
  }
}

TEST(ParseTimeout, TakesSecondsAndDurations) {
  EXPECT_EQ(*ParseTimeout("90"), absl::Seconds(90));
  EXPECT_EQ(*ParseTimeout("0.5"), absl::Milliseconds(500));
  EXPECT_EQ(*ParseTimeout("90s"), absl::Seconds(90));
  EXPECT_EQ(*ParseTimeout("1h30m"), absl::Minutes(90));
  for (const char* wrong : {"", "soon", "-1", "0", "5 parsecs"}) EXPECT_FALSE(ParseTimeout(wrong).ok()) << wrong;
}

}  // namespace
}  // namespace tenon::cli
