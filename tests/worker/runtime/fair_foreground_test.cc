#include "worker/runtime/fair_foreground.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace tenon::runtime {
namespace {

// Takes a fixed time a slice.
class Work final : public ForegroundWork {
 public:
  Work(const char* kind, absl::Duration slice, ManualClock* clock) : kind_(kind), slice_(slice), clock_(*clock) {}
  bool Ready(absl::Time) override { return ready; }
  const char* RunSlice() override {
    clock_.Advance(slice_);
    return kind_;
  }
  absl::Time NextWake(absl::Time) override { return wake; }

  bool ready = true;
  absl::Time wake = absl::InfiniteFuture();

 private:
  const char* const kind_;
  const absl::Duration slice_;
  ManualClock& clock_;
};

class FairForegroundTest : public ::testing::Test {
 protected:
  std::map<std::string, int> Run(int slices) {
    std::map<std::string, int> ran;
    while (slices-- > 0 && both_.Ready(clock_.Now())) ++ran[both_.RunSlice()];
    return ran;
  }

  ManualClock clock_;
  Work batches_{"inference", absl::Milliseconds(90), &clock_};
  Work steps_{"generate", absl::Milliseconds(10), &clock_};
  FairForeground both_{{&batches_, &steps_}, &clock_};
};

TEST_F(FairForegroundTest, EachGetsHalfOfTheTime) {
  auto ran = Run(1000);
  EXPECT_NEAR(ran["inference"], 100, 2);
  EXPECT_NEAR(ran["generate"], 900, 2);
}

TEST_F(FairForegroundTest, OneAloneHasAll) {
  steps_.ready = false;
  EXPECT_EQ(Run(10)["inference"], 10);
  batches_.ready = false;
  EXPECT_FALSE(both_.Ready(clock_.Now()));
}

TEST_F(FairForegroundTest, APauseBuysNoBurst) {
  steps_.ready = false;
  Run(100);  // nine seconds
  steps_.ready = true;
  auto ran = Run(40);
  EXPECT_GE(ran["inference"], 3);
  EXPECT_GE(ran["generate"], 30);
}

TEST_F(FairForegroundTest, WakesForWhoIsFirst) {
  const absl::Time now = clock_.Now();
  EXPECT_EQ(both_.NextWake(now), absl::InfiniteFuture());
  batches_.wake = now + absl::Seconds(2);
  steps_.wake = now + absl::Seconds(1);
  EXPECT_EQ(both_.NextWake(now), steps_.wake);
}

}  // namespace
}  // namespace tenon::runtime
