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

TEST(CommonParent, IsTheDeepestFolderAboveAll) {
  EXPECT_EQ(CommonParent({}), "");
  EXPECT_EQ(CommonParent({"/a/b/c"}), "/a/b");
  EXPECT_EQ(CommonParent({"/a/b/c", "/a/b/d"}), "/a/b");
  EXPECT_EQ(CommonParent({"/a/b/c", "/a/x"}), "/a");
  EXPECT_EQ(CommonParent({"/a/b/c", "/a/bc/d"}), "/a");
  EXPECT_EQ(CommonParent({"/a/b", "/c/d"}), "/");
}

}  // namespace
}  // namespace tenon::cli
