#include "worker/runtime/residency.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/formats/status.h"
#include "tests/worker/runtime/fake_engine.h"

namespace tenon::runtime {
namespace {

using ::testing::ElementsAre;

class ResidencyTest : public ::testing::Test {
 protected:
  ResidencyTest() {
    tenon::testing::FakeEngine::Get().Reset();
    base_ = *engine::Base::Load("base", {});
  }

  AdapterId Want(int n, bool host_only = false) {
    return residency_.Want({"base", absl::StrCat("head-", n)}, host_only, &tier_);
  }
  // Does one load; what it was, such as `disk head-1`, or empty.
  std::string Step() {
    const auto load = residency_.NextLoad(clock_.Now());
    if (!load.has_value()) return "";
    Do(*load);
    return absl::StrCat(TierName(load->from), " ", load->key.adapter);
  }
  void Do(const Residency::Load& load) {
    if (load.from == Tier::kDisk) {
      residency_.OnHost(load.id, engine::HostAdapter::Load(load.key.adapter, *base_));
    } else {
      residency_.OnDevice(load.id, engine::DeviceAdapter::Place(load.host, *base_), clock_.Now());
    }
  }
  void Settle() {
    while (!Step().empty()) {
    }
  }

  ManualClock clock_;
  std::shared_ptr<const engine::Base> base_;
  Residency residency_{{.device_slots = 2, .host_bytes = 3500, .quantum = absl::Milliseconds(100)}};
  Tier tier_ = Tier::kDisk;
};

TEST_F(ResidencyTest, ClimbsFromDiskToDeviceAndStays) {
  const AdapterId one = Want(1);
  EXPECT_EQ(tier_, Tier::kDisk);
  EXPECT_EQ(Step(), "disk head-1");
  EXPECT_NE(residency_.HostHandle(one), nullptr);
  EXPECT_EQ(residency_.DeviceHandle(one), nullptr);
  EXPECT_EQ(Step(), "memory head-1");
  EXPECT_TRUE(residency_.OnDevice(one));
  EXPECT_EQ(Step(), "");
  residency_.Unwant(one, false);
  EXPECT_EQ(Want(1), one);
  EXPECT_EQ(tier_, Tier::kDevice);
  EXPECT_EQ(Step(), "");
}

TEST_F(ResidencyTest, IsLoadedOnceHoweverManyWantIt) {
  for (int i = 0; i < 5; ++i) Want(1);
  const auto load = residency_.NextLoad(clock_.Now());
  ASSERT_TRUE(load.has_value());
  Want(1);
  EXPECT_FALSE(residency_.NextLoad(clock_.Now()).has_value());
  Do(*load);
  Settle();
  EXPECT_EQ(tenon::testing::FakeEngine::Get().host_loads, 1);
  EXPECT_EQ(tenon::testing::FakeEngine::Get().device_places, 1);
}

TEST_F(ResidencyTest, ACheckNeedsNoSlot) {
  const AdapterId id = Want(1, true);
  Settle();
  EXPECT_NE(residency_.HostHandle(id), nullptr);
  EXPECT_FALSE(residency_.OnDevice(id));
  residency_.Unwant(id, true);
  EXPECT_EQ(residency_.counts().in_memory, 1) << "kept for the next call";
}

TEST_F(ResidencyTest, TheLeastRecentlyUsedUnwantedLeavesFirst) {
  const AdapterId one = Want(1), two = Want(2);
  Settle();
  residency_.Unwant(one, false);
  residency_.Unwant(two, false);
  residency_.Touch(one);
  Want(3);
  Settle();
  EXPECT_TRUE(residency_.OnDevice(one));
  EXPECT_FALSE(residency_.OnDevice(two));
  EXPECT_THAT(residency_.TakeEvicted().tiers, ElementsAre(Tier::kDevice));
  EXPECT_EQ(residency_.counts().on_device, 2);
}

TEST_F(ResidencyTest, AHeldHandleIsNeverEvicted) {
  const AdapterId one = Want(1), two = Want(2);
  Settle();
  residency_.Unwant(one, false);
  residency_.Unwant(two, false);
  Residency::Device held_one = residency_.DeviceHandle(one), held_two = residency_.DeviceHandle(two);
  const AdapterId three = Want(3);
  Settle();
  EXPECT_FALSE(residency_.OnDevice(three));
  EXPECT_TRUE(residency_.OnDevice(one));
  held_two.reset();
  Settle();
  EXPECT_TRUE(residency_.OnDevice(three));
  EXPECT_TRUE(residency_.OnDevice(one));
  EXPECT_FALSE(residency_.OnDevice(two));
}

TEST_F(ResidencyTest, AWantedAdapterKeepsItsSlotUntilItServedForAQuantum) {
  const AdapterId one = Want(1);
  Want(2);
  Settle();
  const AdapterId three = Want(3);
  clock_.Advance(absl::Milliseconds(500));
  Settle();
  EXPECT_FALSE(residency_.OnDevice(three)) << "nobody has served yet";
  residency_.Touch(one);
  Settle();
  EXPECT_TRUE(residency_.OnDevice(three));
  EXPECT_FALSE(residency_.OnDevice(one)) << "it is wanted still, and queues again";
}

TEST_F(ResidencyTest, TheQuantumsEndIsAnnounced) {
  const AdapterId one = Want(1);
  Want(2);
  Settle();
  EXPECT_EQ(residency_.NextRotation(clock_.Now()), absl::InfiniteFuture()) << "nobody waits";
  Want(3);
  Settle();
  residency_.Touch(one);
  EXPECT_EQ(residency_.NextRotation(clock_.Now()), clock_.Now() + absl::Milliseconds(100));
}

TEST_F(ResidencyTest, MoreWantedThanSlotsTakeTurnsAndNobodyStarves) {
  constexpr int kAdapters = 9;
  std::vector<AdapterId> ids;
  for (int i = 0; i < kAdapters; ++i) ids.push_back(Want(i));
  std::map<AdapterId, int> served;
  for (int round = 0; round < 90; ++round) {
    Settle();
    for (const AdapterId id : ids) {
      if (!residency_.OnDevice(id)) continue;
      residency_.Touch(id);
      ++served[id];
    }
    EXPECT_LE(residency_.counts().on_device, 2);
    clock_.Advance(absl::Milliseconds(100));
  }
  for (const AdapterId id : ids) EXPECT_NEAR(served[id], 20, 3);
}

TEST_F(ResidencyTest, HostMemoryIsBoundedByBytes) {
  for (int i = 0; i < 6; ++i) {
    const AdapterId id = Want(i, true);
    Settle();
    residency_.Unwant(id, true);
    EXPECT_LE(residency_.counts().host_bytes, 3500);
  }
  EXPECT_EQ(residency_.counts().in_memory, 3);
  EXPECT_EQ(residency_.TakeEvicted().tiers.size(), 3u);
  Want(5, true);
  EXPECT_EQ(tier_, Tier::kMemory);
  Want(0, true);
  EXPECT_EQ(tier_, Tier::kDisk);
}

TEST_F(ResidencyTest, AnAdapterLargerThanTheBoundServesAndLeaves) {
  const AdapterId large = residency_.Want({"base", "large"}, false, &tier_);
  Settle();
  EXPECT_TRUE(residency_.OnDevice(large));
  residency_.Unwant(large, false);
  Want(1);
  Want(2);
  Settle();
  EXPECT_EQ(residency_.counts().in_memory, 2);
}

TEST_F(ResidencyTest, AFailureIsForgottenAndTriedAgainForTheNextCall) {
  const AdapterId id = residency_.Want({"base", "broken"}, false, &tier_);
  EXPECT_EQ(Step(), "disk broken");
  EXPECT_EQ(Step(), "") << "no loop of attempts";
  residency_.Unwant(id, false);
  residency_.Want({"base", "broken"}, false, &tier_);
  EXPECT_EQ(Step(), "disk broken");
}

TEST_F(ResidencyTest, AFailedPlaceGivesItsSlotBack) {
  const AdapterId one = Want(1);
  EXPECT_EQ(Step(), "disk head-1");
  const auto load = residency_.NextLoad(clock_.Now());
  ASSERT_TRUE(load.has_value());
  residency_.OnDevice(load->id, TenonError(Reason::kOutOfMemory, "no room"), clock_.Now());
  residency_.Unwant(one, false);
  const AdapterId two = Want(2), three = Want(3);
  Settle();
  EXPECT_TRUE(residency_.OnDevice(two));
  EXPECT_TRUE(residency_.OnDevice(three));
}

TEST_F(ResidencyTest, TheSameAdapterOnTwoBasesIsTwo) {
  const AdapterId one = residency_.Want({"base", "head-1"}, false, &tier_);
  const AdapterId other = residency_.Want({"other", "head-1"}, false, &tier_);
  EXPECT_NE(one, other);
}

TEST_F(ResidencyTest, WhoHoldsItsSlotLongestYieldsWhenAnotherWaits) {
  const AdapterId one = Want(1);
  Settle();
  clock_.Advance(absl::Milliseconds(10));
  const AdapterId two = Want(2);
  Settle();
  Residency::Device held_one = residency_.DeviceHandle(one), held_two = residency_.DeviceHandle(two);
  residency_.Touch(one);
  residency_.Touch(two);
  clock_.Advance(absl::Seconds(1));
  EXPECT_FALSE(residency_.MustYield(one, clock_.Now())) << "nobody waits";
  const AdapterId three = Want(3);
  Settle();
  EXPECT_FALSE(residency_.OnDevice(three));
  EXPECT_TRUE(residency_.MustYield(one, clock_.Now()));
  EXPECT_FALSE(residency_.MustYield(two, clock_.Now())) << "one slot is asked for";
  EXPECT_FALSE(residency_.MustYield(three, clock_.Now()));
  EXPECT_FALSE(residency_.MustYield(999, clock_.Now()));
  held_one.reset();
  Settle();
  EXPECT_TRUE(residency_.OnDevice(three));
  EXPECT_FALSE(residency_.OnDevice(one));
}

TEST_F(ResidencyTest, NobodyYieldsBeforeItsQuantumOrBeforeItServed) {
  const AdapterId one = Want(1), two = Want(2);
  Settle();
  Residency::Device held_one = residency_.DeviceHandle(one), held_two = residency_.DeviceHandle(two);
  Want(3);
  Settle();
  clock_.Advance(absl::Milliseconds(200));
  EXPECT_FALSE(residency_.MustYield(one, clock_.Now()) || residency_.MustYield(two, clock_.Now())) << "not served";
  residency_.Touch(one);
  EXPECT_TRUE(residency_.MustYield(one, clock_.Now()));
  EXPECT_FALSE(residency_.MustYield(one, clock_.Now() - absl::Milliseconds(150)));
}

}  // namespace
}  // namespace tenon::runtime
