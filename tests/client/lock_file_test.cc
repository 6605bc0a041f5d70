#include "client/cli/lock_file.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

#include "common/formats/status.h"

namespace tenon::cli {
namespace {

class LockFileTest : public testing::Test {
 protected:
  absl::Status Take(LockFile& lock) { return lock.Take(path_, "Somebody else has it.", "--data"); }
  const std::string path_ = testing::TempDir() + "/lock_file_test.lock";
};

TEST_F(LockFileTest, OneHoldsItAndTheNextAfterwards) {
  LockFile first, second;
  ASSERT_TRUE(Take(first).ok());
  const absl::Status refused = Take(second);
  EXPECT_EQ(GetReason(refused), Reason::kInUse);
  EXPECT_EQ(GetField(refused), "--data");
  EXPECT_FALSE(second.held());
  second.Release();
  EXPECT_TRUE(std::filesystem::exists(path_)) << "it was not his to remove";
  first.Release();
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_TRUE(Take(second).ok());
}

TEST_F(LockFileTest, WhereNothingCanBeWritten) {
  LockFile lock;
  EXPECT_TRUE(absl::IsInvalidArgument(lock.Take("/nowhere/at/all/x.lock", "", "")));
  EXPECT_FALSE(lock.held());
}

// The file is removed at every release: an owner of a file that is gone must not think that it owns the name.
TEST_F(LockFileTest, TwoNeverHoldItAtOnce) {
  std::atomic<int> owners = 0, most = 0, taken = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) {
        LockFile lock;
        if (!Take(lock).ok()) continue;
        const int now = ++owners;
        int seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        ++taken;
        for (int wait = 0; wait < 20; ++wait) std::this_thread::yield();  // long enough for another to come
        --owners;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, 1);
  EXPECT_GT(taken, 1000);
}

}  // namespace
}  // namespace tenon::cli
