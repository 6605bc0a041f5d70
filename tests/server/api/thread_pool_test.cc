#include "server/api/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>

#include "absl/synchronization/notification.h"

namespace tenon::server {
namespace {

// While it lives no thread can be started: each would get a stack of more than all addresses that there are.
class NoMoreThreads {
 public:
  NoMoreThreads() {
    pthread_getattr_default_np(&usual_);
    pthread_attr_t huge;
    pthread_attr_init(&huge);
    pthread_attr_setstacksize(&huge, size_t{1} << 50);
    EXPECT_EQ(pthread_setattr_default_np(&huge), 0);
    pthread_attr_destroy(&huge);
  }
  ~NoMoreThreads() {
    pthread_setattr_default_np(&usual_);
    pthread_attr_destroy(&usual_);
  }

 private:
  pthread_attr_t usual_;
};

TEST(ThreadPoolTest, RunsWhatItTookBeforeItEnds) {
  std::atomic<int> ran = 0;
  {
    ThreadPool pool(2, 100);
    for (int i = 0; i < 50; ++i) EXPECT_TRUE(pool.Schedule([&] { ++ran; }));
  }
  EXPECT_EQ(ran, 50);
}

TEST(ThreadPoolTest, RefusesWhatNoThreadCanBeStartedFor) {
  ThreadPool pool(2, 100);
  std::atomic<int> ran = 0;
  {
    const NoMoreThreads limit;
    EXPECT_FALSE(pool.Schedule([&] { ++ran; }));
  }
  absl::Notification later;
  EXPECT_TRUE(pool.Schedule([&] { later.Notify(); })) << "it is tried again";
  later.WaitForNotification();
  EXPECT_EQ(ran, 0);
}

TEST(ThreadPoolTest, WithoutANewThreadItWaitsForThoseThatRun) {
  absl::Notification entered, release, second;
  ThreadPool pool(2, 1);
  ASSERT_TRUE(pool.Schedule([&] {
    entered.Notify();
    release.WaitForNotification();
  }));
  entered.WaitForNotification();
  {
    const NoMoreThreads limit;
    EXPECT_TRUE(pool.Schedule([&] { second.Notify(); }));
    EXPECT_EQ(pool.waiting(), 1);
    EXPECT_FALSE(pool.Schedule([] {})) << "the queue is full";
  }
  release.Notify();
  second.WaitForNotification();
}

}  // namespace
}  // namespace tenon::server
