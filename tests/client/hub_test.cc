// The parts of `tenon bases pull` that need no network: addresses, answers, patience.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "client/hub/download.h"
#include "client/hub/listing.h"
#include "client/hub/pull.h"
#include "client/hub/retry.h"
#include "client/hub/url.h"
#include "common/formats/status.h"

namespace tenon::hub {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kCommit(40, 'a');

TEST(Url, AnOriginIsSchemeHostAndPort) {
  EXPECT_EQ(*ParseOrigin("https://Hub.test/a?b"), *ParseOrigin("https://hub.test:443/"));
  for (const char* other :
       {"http://hub.test", "https://hub.test:444", "https://hub.test.evil.test", "https://cdn.hub.test"})
    EXPECT_NE(*ParseOrigin("https://hub.test"), *ParseOrigin(other)) << other;
  for (const char* wrong :
       {"", "hub.test/x y", "ftp://hub.test", "file:///etc/passwd", "https://user:secret@hub.test"}) {
    const auto origin = ParseOrigin(wrong);
    ASSERT_FALSE(origin.ok()) << wrong;
  }
}

TEST(Url, RedirectsAreResolvedAndNeverLeaveHttps) {
  EXPECT_EQ(*ResolveRedirect("https://hub.test/a/b", "/c?d=1"), "https://hub.test/c?d=1");
  EXPECT_EQ(*ResolveRedirect("https://hub.test/a/b", "https://cdn.test/x"), "https://cdn.test/x");
  EXPECT_EQ(*ResolveRedirect("http://hub.test/a", "https://hub.test/a"), "https://hub.test/a");
  for (const char* wrong : {"", "http://hub.test/a", "file:///etc/passwd", "ftp://hub.test/a"})
    EXPECT_FALSE(ResolveRedirect("https://hub.test/a", wrong).ok()) << wrong;
}

TEST(Url, ASignatureIsNotShown) {
  EXPECT_EQ(ShownUrl("https://cdn.test/x?signature=secret"), "https://cdn.test/x");
  EXPECT_EQ(ShownUrl("https://user:pass@word@hub.test/a@b#c"), "https://hub.test/a@b");
  const auto wrong = ResolveRedirect("https://hub.test/a", "http://cdn.test/x?signature=secret");
  EXPECT_THAT(std::string(wrong.status().message()), testing::Not(HasSubstr("secret")));
}

TEST(Url, PlainHttpIsReadableUnlessToThisMachine) {
  EXPECT_TRUE(IsClearText(*ParseOrigin("http://mirror.test")));
  EXPECT_TRUE(IsClearText(*ParseOrigin("http://localhost.evil.test")));
  for (const char* safe : {"https://mirror.test", "http://localhost:8080", "http://127.0.0.1:80", "http://[::1]:80"})
    EXPECT_FALSE(IsClearText(*ParseOrigin(safe))) << safe;
}

TEST(Url, EscapesWhatIsNoPlainLetter) {
  EXPECT_EQ(EscapeUrl("refs/pr/1", false), "refs%2Fpr%2F1");
  EXPECT_EQ(EscapeUrl("1_Pooling/a b?#%.json", true), "1_Pooling/a%20b%3F%23%25.json");
}

TEST(Listing, Repositories) {
  for (const char* good :
       {"a/b", "sentence-transformers/all-MiniLM-L6-v2", "google/flan-t5-small", "t5-small", "a1/b_c.d"})
    EXPECT_TRUE(CheckRepository(good, "r").ok()) << good;
  for (const char* wrong : {"", "/", "a/", "/b", "a/b/c", "../b", "a/..", "a b/c", "a/b?c", "a/.b", "a\n/b"})
    EXPECT_EQ(GetReason(CheckRepository(wrong, "r")), Reason::kIdInvalid) << wrong;
}

TEST(Listing, ARevisionNamesItsCommit) {
  EXPECT_EQ(*ParseRevision("{\"sha\":\"" + kCommit + "\",\"siblings\":[{\"rfilename\":\"1_Pooling/config.json\"}]}"),
            kCommit);
  for (const std::string& wrong : {std::string("{}"), std::string("[1]"), std::string("no json"),
                                   std::string("{\"sha\":\"main\"}"), "{\"sha\":\"" + std::string(40, '/') + "\"}",
                                   "{\"sha\":\"" + kCommit + "\",\"siblings\":[{\"rfilename\":\"../x\"}]}"})
    EXPECT_TRUE(absl::IsDataLoss(ParseRevision(wrong).status())) << wrong;
}

std::string Entry(const std::string& path, const std::string& rest) {
  return "[{\"type\":\"file\",\"path\":\"" + path + "\"," + rest + "}]";
}

TEST(Listing, ATreesFilesHaveSizesAndDigests) {
  const std::string sha256(64, 'b');
  const auto small = ParseTree(Entry("config.json", "\"size\":12,\"oid\":\"" + kCommit + "\",\"new\":{}"), kCommit);
  ASSERT_TRUE(small.ok());
  EXPECT_EQ(small->front().size, 12);
  EXPECT_EQ(small->front().sha256, "");
  const auto large = ParseTree(
      Entry("model.safetensors", "\"size\":1,\"oid\":\"x\",\"lfs\":{\"oid\":\"" + sha256 + "\",\"size\":9000000000}"),
      kCommit);
  ASSERT_TRUE(large.ok());
  EXPECT_EQ(large->front().size, 9'000'000'000);
  EXPECT_EQ(large->front().sha256, sha256);
  EXPECT_TRUE(ParseTree("[{\"type\":\"directory\",\"path\":\"x\"},{\"type\":\"submodule\"}]", kCommit)->empty());
}

TEST(Listing, ATreeThatMakesNoSense) {
  const std::string good = "\"size\":1,\"oid\":\"" + kCommit + "\"";
  for (const char* path : {"", "../x", "/etc/passwd", "a/../b", "a//b", "a\\\\b", ".", "a/", "a\\u0000b", "a\\nb"})
    EXPECT_TRUE(absl::IsDataLoss(ParseTree(Entry(path, good), kCommit).status())) << path;
  for (const char* rest : {"\"size\":-1", "\"size\":1", "\"size\":1,\"oid\":\"xyz\"", "\"size\":\"1\"",
                           "\"size\":1,\"lfs\":{}", "\"size\":1,\"lfs\":7"})
    EXPECT_TRUE(absl::IsDataLoss(ParseTree(Entry("a", rest), kCommit).status())) << rest;
  for (const char* wrong : {"{}", "", "[1]", "[[]]"}) {
    const auto tree = ParseTree(wrong, kCommit);
    EXPECT_TRUE(!tree.ok() || tree->empty()) << wrong;
  }
}

TEST(Listing, TheNextPageIsLinked) {
  EXPECT_EQ(NextPage("<https://hub.test/x?cursor=a>; rel=\"next\""), "https://hub.test/x?cursor=a");
  EXPECT_EQ(NextPage("<https://hub.test/1>; rel=\"prev\", <https://hub.test/3>; rel=\"next\""), "https://hub.test/3");
  for (const char* none : {"", "<https://hub.test/1>; rel=\"prev\"", ">; rel=\"next\"<"})
    EXPECT_EQ(NextPage(none), "") << none;
}

TEST(Listing, OnlyTheHubsBotConverts) {
  const auto entry = [](const std::string& author, const std::string& status, const std::string& pull) {
    return "{\"num\":5,\"title\":\"Adding `safetensors` variant of this model\",\"author\":" + author +
           ",\"status\":\"" + status + "\",\"isPullRequest\":" + pull + "}";
  };
  const auto page = [](const std::string& entries) {
    return "{\"discussions\":[" + entries + "],\"count\":3,\"start\":1}";
  };
  const std::string bot = "{\"name\":\"SFconvertbot\"}";
  const auto found = ParseDiscussions(page(entry(bot, "open", "true")));
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(found->conversions, ElementsAre(5));
  EXPECT_EQ(found->seen, 2);
  EXPECT_EQ(found->count, 3);
  for (const std::string& other :
       {entry("{\"name\":\"mallory\"}", "open", "true"), entry("null", "open", "true"), entry(bot, "closed", "true"),
        entry(bot, "open", "false"), std::string("7"), std::string("{}")})
    EXPECT_THAT(ParseDiscussions(page(other))->conversions, IsEmpty()) << other;
  for (const char* wrong : {"", "[]", "{}", "{\"discussions\":7}"})
    EXPECT_TRUE(absl::IsDataLoss(ParseDiscussions(wrong).status()));
}

TEST(Listing, ShardsHavePlainNames) {
  EXPECT_THAT(
      *ParseShardNames("{\"weight_map\":{\"b\":\"2.safetensors\",\"a\":\"1.safetensors\",\"c\":\"1.safetensors\"}}"),
      ElementsAre("1.safetensors", "2.safetensors"));
  for (const char* wrong : {"", "[]", "{}", "{\"weight_map\":[]}", "{\"weight_map\":{}}", "{\"weight_map\":{\"a\":7}}",
                            "{\"weight_map\":{\"a\":\"../x\"}}", "{\"weight_map\":{\"a\":\"x/y\"}}"})
    EXPECT_EQ(GetReason(ParseShardNames(wrong).status()), Reason::kBaseInvalid) << wrong;
}

// Waits are written down, not waited for.
class RetryTest : public testing::Test {
 protected:
  RetryTest() {
    options_.wait = [this](absl::Duration time) {
      waits_.push_back(time);
      return cancelled_;
    };
  }
  absl::Status Run(const std::function<Try(int)>& attempt) {
    return Retry(options_, [&] { return attempt(++tries_); });
  }
  static Try Again() { return {.status = TenonError(Reason::kHubUnavailable, "Busy."), .again = true}; }

  RetryOptions options_;
  std::vector<absl::Duration> waits_;
  bool cancelled_ = false;
  int tries_ = 0;
};

TEST_F(RetryTest, WaitsLongerEachTimeThenGivesUp) {
  EXPECT_EQ(GetReason(Run([](int) { return Again(); })), Reason::kHubUnavailable);
  EXPECT_EQ(tries_, 5);
  EXPECT_THAT(waits_, ElementsAre(absl::Milliseconds(500), absl::Seconds(1), absl::Seconds(2), absl::Seconds(4)));
}

TEST_F(RetryTest, ProgressStartsTheCountAnew) {
  const absl::Status status = Run([](int n) {
    Try result = Again();
    result.progressed = n == 4;
    return n == 7 ? Try{} : result;
  });
  EXPECT_TRUE(status.ok());
  EXPECT_THAT(waits_, ElementsAre(absl::Milliseconds(500), absl::Seconds(1), absl::Seconds(2), absl::Milliseconds(500),
                                  absl::Seconds(1), absl::Seconds(2)));
}

TEST_F(RetryTest, TheServersWishGoesBeforeOurs) {
  const auto wish = [](absl::Duration time) {
    Try result = Again();
    result.retry_after = time;
    return result;
  };
  EXPECT_TRUE(Run([&](int n) { return n == 1 ? wish(absl::Seconds(9)) : Try{}; }).ok());
  EXPECT_THAT(waits_, ElementsAre(absl::Seconds(9)));
  EXPECT_THAT(std::string(Run([&](int) { return wish(absl::Hours(2)); }).message()), HasSubstr("2h"));
  EXPECT_EQ(waits_.size(), 1u);
}

TEST_F(RetryTest, WhatCannotGetBetterIsNotTriedAgain) {
  EXPECT_TRUE(absl::IsNotFound(Run([](int) { return Try{.status = absl::NotFoundError("")}; })));
  EXPECT_EQ(tries_, 1);
}

TEST_F(RetryTest, ACancelEndsTheWait) {
  cancelled_ = true;
  EXPECT_EQ(GetReason(Run([](int) { return Again(); })), Reason::kCancelled);
  EXPECT_EQ(tries_, 1);
}

TEST(RetryAfter, IsSecondsOrADate) {
  const absl::Time now = absl::FromUnixSeconds(1'445'412'480);  // Wed, 21 Oct 2015 07:28:00 GMT
  EXPECT_EQ(ParseRetryAfter("120", now), absl::Seconds(120));
  EXPECT_EQ(ParseRetryAfter("Wed, 21 Oct 2015 07:29:30 GMT", now), absl::Seconds(90));
  for (const char* none : {"", "-5", "soon", "Wed, 21 Oct 2015 07:00:00 GMT"})
    EXPECT_EQ(ParseRetryAfter(none, now), absl::ZeroDuration()) << none;
}

TEST(Matches, AFileThatIsNotThereIsNoEmptyFile) {
  const std::filesystem::path folder = testing::TempDir();
  const RemoteFile empty{
      .path = "empty", .size = 0, .git_sha1 = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"};  // git's digest of no bytes
  const auto missing = Matches(folder / "nothing-here", empty);
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_FALSE(*missing);
  std::ofstream(folder / "empty").close();
  const auto there = Matches(folder / "empty", empty);
  ASSERT_TRUE(there.ok()) << there.status();
  EXPECT_TRUE(*there);
}

TEST(Pull, ABasesIdIsMadeOfTheRepositorysName) {
  EXPECT_EQ(IdOf("sentence-transformers/all-MiniLM-L6-v2"), "all-minilm-l6-v2");
  EXPECT_EQ(IdOf("t5_small.v1.1"), "t5-small-v1-1");
  EXPECT_EQ(IdOf("a/x--_.y-"), "x-y");
  EXPECT_EQ(IdOf("a/" + std::string(90, 'x')).size(), 63u);
}

}  // namespace
}  // namespace tenon::hub
