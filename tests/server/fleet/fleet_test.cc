// Leases, reconnects and placement of bases, with a clock turned by hand.
#include "server/fleet/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"

namespace tenon::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class FleetTest : public ::testing::Test {
 protected:
  static WorkerIdentity Worker(const std::string& id, const std::string& session, int64_t memory = 0) {
    return {id, session, "cpu", "0.1.0", memory};
  }
  // Connects, opens the stream for inference, loads everything it is asked for.
  void Join(const std::string& id, const std::string& session, uint64_t link, int64_t memory = 0) {
    ASSERT_TRUE(fleet_.Connect(Worker(id, session, memory), {}, link).ok());
    fleet_.SetWork(session, true);
    for (const auto& load : fleet_.TakeLoads()) fleet_.BaseLoaded(load.session, load.digest, true);
  }
  std::vector<std::string> Loads() {
    std::vector<std::string> loads;
    for (const auto& load : fleet_.TakeLoads()) loads.push_back(load.session + "<-" + load.digest);
    return loads;
  }
  std::vector<std::string> Unloads() {
    std::vector<std::string> unloads;
    for (const auto& unload : fleet_.TakeUnloads()) unloads.push_back(unload.session + "->" + unload.digest);
    return unloads;
  }

  ManualClock clock_;
  Fleet fleet_{clock_, Fleet::Options()};
};

TEST_F(FleetTest, AWorkerIsReadyOnceABaseIsLoadedAndItsWorkStreamIsOpen) {
  fleet_.SetBases({{"b1", 100}});
  ASSERT_TRUE(fleet_.Connect(Worker("w", "s"), {}, 1).ok());
  EXPECT_EQ(fleet_.StageOf("b1"), BaseStage::kAbsent);
  EXPECT_THAT(Loads(), ElementsAre("s<-b1"));
  EXPECT_EQ(fleet_.StageOf("b1"), BaseStage::kExpected);
  EXPECT_EQ(fleet_.Workers()[0].stage, WorkerStage::kLoading);
  fleet_.BaseLoaded("s", "b1", true);
  EXPECT_FALSE(fleet_.Serves("s", "b1"));
  EXPECT_FALSE(fleet_.serving());
  fleet_.SetWork("s", true);
  EXPECT_TRUE(fleet_.Serves("s", "b1"));
  EXPECT_TRUE(fleet_.serving());
  EXPECT_EQ(fleet_.StageOf("b1"), BaseStage::kReady);
  EXPECT_EQ(fleet_.Workers()[0].stage, WorkerStage::kReady);
}

TEST_F(FleetTest, WithNothingToLoadAWorkerCanTakeWorkButServesNothing) {
  Join("w", "s", 1);
  EXPECT_EQ(fleet_.Workers()[0].stage, WorkerStage::kReady);
  EXPECT_FALSE(fleet_.serving());
}

TEST_F(FleetTest, ASilentWorkerIsLostWhenItsLeaseEnds) {
  Join("w", "s", 1);
  clock_.Advance(absl::Seconds(29));
  EXPECT_THAT(fleet_.TakeLost(), IsEmpty());
  EXPECT_TRUE(fleet_.Heartbeat("s", 3, 500, {"finetuneJobs/a"}));
  EXPECT_EQ(fleet_.Workers()[0].adapters_resident, 3);
  EXPECT_THAT(fleet_.Workers()[0].jobs, ElementsAre("finetuneJobs/a"));
  clock_.Advance(absl::Seconds(29));
  EXPECT_THAT(fleet_.TakeLost(), IsEmpty());
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(fleet_.TakeLost(), ElementsAre("s"));
  EXPECT_FALSE(fleet_.Heartbeat("s", 0, 0, {}));
  EXPECT_THAT(fleet_.TakeLost(), IsEmpty());
}

TEST_F(FleetTest, AClosedStreamWaitsTheWindowAlone) {
  fleet_.SetBases({{"b1", 100}});
  Join("w", "s", 1);
  fleet_.Disconnect("s", 1);
  EXPECT_FALSE(fleet_.Connected("s"));
  EXPECT_EQ(fleet_.Workers()[0].stage, WorkerStage::kLost);
  EXPECT_EQ(fleet_.StageOf("b1"), BaseStage::kExpected);
  clock_.Advance(absl::Seconds(4));
  EXPECT_THAT(fleet_.TakeLost(), IsEmpty());
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(fleet_.StageOf("b1"), BaseStage::kAbsent);
  EXPECT_THAT(fleet_.TakeLost(), ElementsAre("s"));
}

TEST_F(FleetTest, ComingBackInTimeKeepsTheSession) {
  Join("w", "s", 1);
  const absl::Time first = fleet_.Workers()[0].connect_time;
  fleet_.Disconnect("s", 1);
  clock_.Advance(absl::Seconds(4));
  const auto came_back = fleet_.Connect(Worker("w", "s"), {"b1"}, 2);
  ASSERT_TRUE(came_back.ok());
  EXPECT_TRUE(*came_back);
  EXPECT_EQ(fleet_.Workers()[0].connect_time, first);
  clock_.Advance(absl::Seconds(10));
  EXPECT_THAT(fleet_.TakeLost(), IsEmpty());
  EXPECT_EQ(fleet_.StageOf("b1"), BaseStage::kReady)
      << "it said that it still holds it, and its work stream never closed";
}

TEST_F(FleetTest, TheEndOfAnOldStreamDoesNotTouchItsSuccessor) {
  Join("w", "s", 1);
  ASSERT_TRUE(*fleet_.Connect(Worker("w", "s"), {}, 2));
  fleet_.Disconnect("s", 1);
  EXPECT_TRUE(fleet_.Connected("s"));
}

TEST_F(FleetTest, ANewProcessOfTheSameWorkerReplacesTheDeadOneAtOnce) {
  Join("w", "s1", 1);
  fleet_.Disconnect("s1", 1);
  const auto came_back = fleet_.Connect(Worker("w", "s2"), {}, 2);
  ASSERT_TRUE(came_back.ok());
  EXPECT_FALSE(*came_back);
  EXPECT_THAT(fleet_.TakeLost(), ElementsAre("s1"));
}

TEST_F(FleetTest, ASecondLivingWorkerOfTheSameNameIsRefused) {
  Join("w", "s1", 1);
  const auto second = fleet_.Connect(Worker("w", "s2"), {}, 2);
  EXPECT_EQ(GetReason(second.status()), Reason::kAlreadyExists);
  EXPECT_EQ(GetField(second.status()), "worker_id");
  EXPECT_EQ(fleet_.Workers().size(), 1);
}

TEST_F(FleetTest, EveryBaseGoesToEveryWorkerWhileItFits) {
  fleet_.SetBases({{"b1", 100}, {"b2", 50}});
  Join("w1", "s1", 1);
  ASSERT_TRUE(fleet_.Connect(Worker("w2", "s2"), {"b1"}, 2).ok());
  EXPECT_THAT(Loads(), ElementsAre("s2<-b2"));
  EXPECT_THAT(Loads(), IsEmpty()) << "asked once";
}

TEST_F(FleetTest, MemoryBoundsWhatAWorkerLoads) {
  fleet_.SetBases({{"b1", 60}, {"b2", 60}, {"b3", 30}});
  ASSERT_TRUE(fleet_.Connect(Worker("w", "s", 100), {}, 1).ok());
  EXPECT_THAT(Loads(), ElementsAre("s<-b1", "s<-b3"));
  EXPECT_EQ(fleet_.StageOf("b2"), BaseStage::kAbsent);
}

TEST_F(FleetTest, WhatNobodyHasGoesWhereRoomIsBeforeCopiesAreMade) {
  ASSERT_TRUE(fleet_.Connect(Worker("w1", "s1", 100), {}, 1).ok());
  ASSERT_TRUE(fleet_.Connect(Worker("w2", "s2", 90), {}, 2).ok());
  fleet_.SetBases({{"b1", 80}, {"b2", 80}});
  EXPECT_THAT(Loads(), UnorderedElementsAre("s1<-b1", "s2<-b2"));
}

TEST_F(FleetTest, AFailedLoadIsTriedAgainLater) {
  fleet_.SetBases({{"b1", 100}});
  ASSERT_TRUE(fleet_.Connect(Worker("w", "s"), {}, 1).ok());
  ASSERT_THAT(Loads(), ElementsAre("s<-b1"));
  fleet_.BaseLoaded("s", "b1", false);
  EXPECT_EQ(fleet_.StageOf("b1"), BaseStage::kAbsent);
  EXPECT_THAT(Loads(), IsEmpty());
  clock_.Advance(absl::Seconds(60));
  EXPECT_THAT(Loads(), ElementsAre("s<-b1"));
}

TEST_F(FleetTest, ALoadThatWasLostWithTheStreamIsAskedForAgain) {
  fleet_.SetBases({{"b1", 100}});
  ASSERT_TRUE(fleet_.Connect(Worker("w", "s"), {}, 1).ok());
  ASSERT_THAT(Loads(), ElementsAre("s<-b1"));
  fleet_.Disconnect("s", 1);
  EXPECT_THAT(Loads(), IsEmpty()) << "nobody to ask";
  ASSERT_TRUE(fleet_.Connect(Worker("w", "s"), {}, 2).ok());
  EXPECT_THAT(Loads(), ElementsAre("s<-b1"));
}

TEST_F(FleetTest, ADeletedBaseTakesMemoryUntilItsWorkerHasUnloadedIt) {
  fleet_.SetBases({{"b1", 60}});
  Join("w", "s", 1, 100);
  EXPECT_THAT(Unloads(), IsEmpty());
  fleet_.SetBases({{"b2", 50}});
  EXPECT_THAT(Loads(), IsEmpty());
  EXPECT_THAT(Unloads(), ElementsAre("s->b1"));
  EXPECT_THAT(Unloads(), IsEmpty()) << "asked once";
  EXPECT_FALSE(fleet_.Serves("s", "b1"));
  EXPECT_EQ(fleet_.StageOf("b1"), BaseStage::kAbsent);
  fleet_.SetBases({{"b2", 50}});
  fleet_.BasesHeld("s", {"b1"});  // a call still uses it
  EXPECT_THAT(Loads(), IsEmpty()) << "60 + 50 do not fit into 100";
  fleet_.BasesHeld("s", {});
  EXPECT_THAT(Loads(), ElementsAre("s<-b2"));
}

TEST_F(FleetTest, ABaseDeletedAndAddedAgainIsLoadedBehindItsUnload) {
  fleet_.SetBases({{"b1", 60}});
  Join("w", "s", 1);
  fleet_.SetBases({});
  EXPECT_THAT(Unloads(), ElementsAre("s->b1"));
  fleet_.SetBases({{"b1", 60}});
  EXPECT_EQ(fleet_.StageOf("b1"), BaseStage::kExpected) << "calls wait for it";
  EXPECT_THAT(Loads(), IsEmpty());
  EXPECT_THAT(Unloads(), IsEmpty());
  fleet_.BasesHeld("s", {});
  EXPECT_THAT(Loads(), ElementsAre("s<-b1"));
  fleet_.BaseLoaded("s", "b1", true);
  EXPECT_TRUE(fleet_.Serves("s", "b1"));
}

TEST_F(FleetTest, ABaseThatAnotherNameStillHasStays) {
  fleet_.SetBases({{"b1", 60}, {"b1", 60}});
  Join("w", "s", 1);
  fleet_.SetBases({{"b1", 60}});
  EXPECT_THAT(Unloads(), IsEmpty());
  EXPECT_TRUE(fleet_.Serves("s", "b1"));
}

TEST_F(FleetTest, ABaseDeletedWhileItLoadsIsUnloadedThen) {
  fleet_.SetBases({{"b1", 60}});
  ASSERT_TRUE(fleet_.Connect(Worker("w", "s", 100), {}, 1).ok());
  ASSERT_THAT(Loads(), ElementsAre("s<-b1"));
  fleet_.SetBases({{"b2", 50}});
  EXPECT_THAT(Unloads(), IsEmpty());
  fleet_.BaseLoaded("s", "b1", true);
  EXPECT_THAT(Unloads(), ElementsAre("s->b1"));
  EXPECT_THAT(Loads(), IsEmpty());
}

TEST_F(FleetTest, AnUnloadUnderWayOutlivesTheStream) {
  fleet_.SetBases({{"b1", 60}});
  Join("w", "s", 1, 100);
  fleet_.SetBases({{"b2", 50}});
  ASSERT_THAT(Unloads(), ElementsAre("s->b1"));
  fleet_.Disconnect("s", 1);
  ASSERT_TRUE(fleet_.Connect(Worker("w", "s", 100), {"b1"}, 2).ok());  // the message was lost
  EXPECT_THAT(Unloads(), ElementsAre("s->b1"));
  ASSERT_TRUE(fleet_.Connect(Worker("w", "s", 100), {}, 3, {"b1"}).ok());
  EXPECT_THAT(Unloads(), IsEmpty());
  EXPECT_THAT(Loads(), IsEmpty());
  fleet_.BasesHeld("s", {});
  EXPECT_THAT(Loads(), ElementsAre("s<-b2"));
}

TEST_F(FleetTest, ABaseOfUnknownSizeMayTakeEverything) {
  fleet_.SetBases({{"b2", 50}});
  ASSERT_TRUE(fleet_.Connect(Worker("w", "s", 100), {"deleted-before"}, 1).ok());
  EXPECT_THAT(Unloads(), ElementsAre("s->deleted-before"));
  EXPECT_THAT(Loads(), IsEmpty());
  fleet_.BasesHeld("s", {});
  EXPECT_THAT(Loads(), ElementsAre("s<-b2"));
}

TEST_F(FleetTest, AStrangersMessagesChangeNothing) {
  EXPECT_FALSE(fleet_.Heartbeat("nobody", 1, 1, {}));
  fleet_.SetWork("nobody", true);
  fleet_.BaseLoaded("nobody", "b1", true);
  fleet_.BasesHeld("nobody", {"b1"});
  fleet_.Disconnect("nobody", 9);
  EXPECT_THAT(fleet_.Workers(), IsEmpty());
  EXPECT_EQ(fleet_.StageOf("b1"), BaseStage::kAbsent);
}

}  // namespace
}  // namespace tenon::server
