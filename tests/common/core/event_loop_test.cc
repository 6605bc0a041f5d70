#include "common/event_loop.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"

namespace tenon {
namespace {

TEST(EventLoop, RunsInTheOrderOfPosting) {
  EventLoop loop;
  std::vector<int> seen;
  for (int i = 0; i < 100; ++i) loop.Post([&seen, i] { seen.push_back(i); });
  loop.Run([] {});
  ASSERT_EQ(seen.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i);
}

TEST(EventLoop, RunsOnItsOwnThread) {
  EventLoop loop;
  std::thread::id first, second;
  loop.Run([&] { first = std::this_thread::get_id(); });
  loop.Run([&] { second = std::this_thread::get_id(); });
  EXPECT_NE(first, std::this_thread::get_id());
  EXPECT_EQ(first, second);
}

TEST(EventLoop, TimersRunNotBeforeTheirTimeAndInOrder) {
  EventLoop loop;
  std::vector<int> seen;
  absl::Notification done;
  const absl::Time start = absl::Now();
  loop.PostAfter(absl::Milliseconds(30), [&] {
    seen.push_back(2);
    done.Notify();
  });
  loop.PostAfter(absl::Milliseconds(10), [&] { seen.push_back(1); });
  done.WaitForNotification();
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(30));
  loop.Run([&] { EXPECT_EQ(seen, (std::vector<int>{1, 2})); });
}

TEST(EventLoop, FunctionsMayPostMore) {
  EventLoop loop;
  absl::Notification done;
  loop.Post([&] { loop.Post([&] { done.Notify(); }); });
  done.WaitForNotification();
}

TEST(EventLoop, WhoWaitsForAFunctionIsLetGoWithTheLoop) {
  auto loop = std::make_unique<EventLoop>();
  absl::Notification busy, ending;
  loop->Post([&] {
    busy.Notify();
    ending.WaitForNotification();
    // Time for the destructor to begin. Should it come later all the same, the function runs, which is as good.
    for (int i = 0; i < 10'000; ++i) std::this_thread::yield();
  });
  busy.WaitForNotification();
  std::thread waiter([loop = loop.get()] { loop->Run([] {}); });
  while (loop->waiting() == 0) std::this_thread::yield();
  ending.Notify();
  loop.reset();
  waiter.join();
}

TEST(EventLoop, StopsWithWorkStillQueued) {
  EventLoop loop;
  for (int i = 0; i < 1000; ++i) loop.PostAfter(absl::Hours(1), [] { FAIL(); });
}

}  // namespace
}  // namespace tenon
