#include "client/cli/stack.h"

#include <gtest/gtest.h>

namespace tenon::cli {
namespace {

TEST(RestartPolicy, BacksOffAndForgets) {
  RestartPolicy policy;
  const absl::Duration crash = absl::Milliseconds(10);
  EXPECT_EQ(policy.NextDelay(crash), absl::ZeroDuration());
  EXPECT_EQ(policy.NextDelay(crash), absl::Seconds(1));
  EXPECT_EQ(policy.NextDelay(crash), absl::Seconds(2));
  EXPECT_EQ(policy.NextDelay(crash), absl::Seconds(4));
  for (int i = 0; i < 100; ++i) EXPECT_LE(policy.NextDelay(crash), absl::Seconds(30));
  EXPECT_EQ(policy.NextDelay(crash), absl::Seconds(30));
  EXPECT_EQ(policy.NextDelay(absl::Minutes(2)), absl::ZeroDuration());
  EXPECT_EQ(policy.NextDelay(crash), absl::Seconds(1));
}

TEST(BasesRoot, IsTheDeepestFolderAboveAll) {
  EXPECT_EQ(BasesRoot({}), "");
  EXPECT_EQ(BasesRoot({"/a/b/c"}), "/a/b");
  EXPECT_EQ(BasesRoot({"/a/b/c", "/a/b/d"}), "/a/b");
  EXPECT_EQ(BasesRoot({"/a/b/c", "/a/x"}), "/a");
  EXPECT_EQ(BasesRoot({"/a/b/c", "/a/bc/d"}), "/a");
}

TEST(BasesRoot, IsNeverTheWholeMachine) {
  EXPECT_EQ(BasesRoot({"/a/b", "/c/d"}), "");
  EXPECT_EQ(BasesRoot({"/a/b", "/c/d", "/a/e"}), "");
  EXPECT_EQ(BasesRoot({"/model"}), "");
}

}  // namespace
}  // namespace tenon::cli
