// Who is on this machine; the bounded pool.
#include "server/access/access.h"

#include <gtest/gtest.h>

#include <atomic>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "server/api/thread_pool.h"

namespace tenon::server {
namespace {

TEST(AccessTest, LoopbackPeers) {
  for (const char* peer : {"ipv4:127.0.0.1:40000", "ipv4:127.8.9.1:1", "ipv6:[::1]:40000", "ipv6:%5B::1%5D:40000",
                           "unix:/run/x", "ipv6:%5B::ffff:127.0.0.1%5D:2"}) {
    EXPECT_TRUE(IsLoopbackPeer(peer)) << peer;
  }
  for (const char* peer : {"ipv4:10.0.0.1:40000", "ipv6:%5Bfe80::1%5D:40000", "ipv4:127.evil.example:1", "",
                           "ipv6:%5B::1", "ipv4:128.0.0.1:1", "ipv6:%5B::ffff:10.0.0.1%5D:2"}) {
    EXPECT_FALSE(IsLoopbackPeer(peer)) << peer;
  }
}

TEST(AccessTest, LoopbackAddresses) {
  for (const char* address : {"127.0.0.1:7070", "localhost:0", "[::1]:7070", "unix:/run/tenon.sock"}) {
    EXPECT_TRUE(IsLoopbackAddress(address)) << address;
  }
  for (const char* address : {"0.0.0.0:7070", "[::]:7070", "10.1.2.3:1", "example.org:7070", ":7070"}) {
    EXPECT_FALSE(IsLoopbackAddress(address)) << address;
  }
}

TEST(AccessTest, RequestIdsAreSafeInALogLine) {
  EXPECT_TRUE(IsRequestId("a-1_B.2"));
  for (const std::string& id :
       {std::string(), std::string(65, 'a'), std::string("a b"), std::string("a\"b"), std::string("\xc3\xa4")}) {
    EXPECT_FALSE(IsRequestId(id)) << id;
  }
}

TEST(ThreadPoolTest, RefusesBeyondThreadsAndQueue) {
  absl::Notification release;
  std::atomic<int> ran = 0;
  {
    ThreadPool pool(2, 1);
    const auto work = [&] {
      release.WaitForNotification();
      ++ran;
    };
    EXPECT_TRUE(pool.Schedule(work));
    EXPECT_TRUE(pool.Schedule(work));
    EXPECT_TRUE(pool.Schedule(work));
    EXPECT_FALSE(pool.Schedule(work));
    EXPECT_EQ(pool.waiting(), 1);
    release.Notify();
  }
  EXPECT_EQ(ran, 3) << "the end waits for what was taken";
}

TEST(ThreadPoolTest, AnIdleThreadTakesTheNextOneWithoutAQueue) {
  ThreadPool pool(1, 0);
  std::atomic<int> ran = 0;
  for (int i = 0; i < 100; ++i) {
    absl::Notification done;
    // The thread counts as idle a moment after the work told us that it is done.
    while (!pool.Schedule([&] {
      ++ran;
      done.Notify();
    })) {
    }
    done.WaitForNotification();
  }
  EXPECT_EQ(ran, 100);
}

}  // namespace
}  // namespace tenon::server
