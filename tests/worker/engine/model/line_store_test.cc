#include "worker/engine/model/decode/line_store.h"

#include <gtest/gtest.h>

#include <set>

namespace tenon::engine {
namespace {

std::vector<std::vector<int32_t>> Slots(const LineStore& store) {
  std::vector<std::vector<int32_t>> slots;
  for (const LineStore::Line& line : store.lines()) slots.push_back(line.state.slots);
  return slots;
}

TEST(LineStore, LinesOfDifferentAges) {
  LineStore store;
  const auto source = std::make_shared<const SourceStates>();
  store.Add(source, nullptr);
  store.Extend();
  store.Add(source, nullptr);
  store.Extend();
  const auto slots = Slots(store);
  EXPECT_EQ(slots[0].size(), 2u);
  EXPECT_EQ(slots[1].size(), 1u);
  EXPECT_EQ(std::set<int32_t>({slots[0][0], slots[0][1], slots[1][0]}).size(), 3u) << "two tokens share a slot";
  EXPECT_EQ(source.use_count(), 3) << "a source is shared, not copied";
}

TEST(LineStore, CopiesShareWhatTheyHaveWrittenAndPartFromThere) {
  LineStore store;
  store.Add(std::make_shared<const SourceStates>(), nullptr);
  store.Extend();
  store.Extend();
  store.Select({{0, 0, 0}});
  EXPECT_EQ(store.slots_in_use(), 2);
  store.Extend();
  const auto slots = Slots(store);
  EXPECT_EQ(store.slots_in_use(), 5);
  for (const auto& line : slots) {
    EXPECT_EQ(line[0], slots[0][0]);
    EXPECT_EQ(line[1], slots[0][1]);
  }
  EXPECT_EQ(std::set<int32_t>({slots[0][2], slots[1][2], slots[2][2]}).size(), 3u);
}

TEST(LineStore, ALineMayBeginWithTokens) {
  LineStore store;
  store.Add(nullptr, nullptr, 3);
  store.Extend();
  EXPECT_EQ(Slots(store)[0], (std::vector<int32_t>{0, 1, 2, 3}));
  store.Select({{0, 0}});
  EXPECT_EQ(store.slots_in_use(), 4) << "copies share what the line began with";
  store.Select({});
  EXPECT_EQ(store.slots_in_use(), 0);
}

TEST(LineStore, WhatNobodyReadsIsUsedAgain) {
  LineStore store;
  for (int i = 0; i < 3; ++i) store.Add(std::make_shared<const SourceStates>(), nullptr);
  for (int step = 0; step < 4; ++step) store.Extend();
  const auto before = Slots(store);
  store.Select({{2, 2, 1}});
  EXPECT_EQ(store.slots_in_use(), 8) << "line 0's four are free";
  EXPECT_EQ(Slots(store), (std::vector<std::vector<int32_t>>{before[2], before[2], before[1]}));
  store.Extend();
  EXPECT_EQ(store.slots(), 12) << "three of the four were there";
  store.Select({});
  EXPECT_EQ(store.slots_in_use(), 0);
  EXPECT_TRUE(store.lines().empty());
}

// Beams are reordered at every step: what is kept must not grow beyond what they hold.
TEST(LineStore, ManyStepsOfBeams) {
  LineStore store;
  for (int i = 0; i < 4; ++i) store.Add(std::make_shared<const SourceStates>(), nullptr);
  for (int64_t step = 0; step < 100; ++step) {
    store.Extend();
    store.Select({{step % 4, step % 4, (step + 1) % 4, (step * 7) % 4}});
    std::set<int32_t> held;
    for (const auto& line : Slots(store)) held.insert(line.begin(), line.end());
    ASSERT_EQ(static_cast<int64_t>(held.size()), store.slots_in_use());
  }
  EXPECT_LE(store.slots(), 4 * 100);
}

}  // namespace
}  // namespace tenon::engine
