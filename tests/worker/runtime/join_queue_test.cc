#include "worker/runtime/join_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace tenon::runtime {
namespace {

using ::testing::ElementsAre;
using Place = std::pair<uint64_t, int32_t>;

bool Any(AdapterId) { return true; }

// Takes up to `count` rows.
std::vector<Place> Take(JoinQueue& queue, int count, const JoinQueue::Ready& ready = Any) {
  std::vector<Place> taken;
  while (count-- > 0) {
    const auto row = queue.Next(ready);
    if (!row.has_value()) break;
    queue.Take(*row);
    taken.emplace_back(row->call, row->index);
  }
  return taken;
}

TEST(JoinQueue, EveryCallHasARowBeforeOneHasTwo) {
  JoinQueue queue;
  queue.Add(1, kNoAdapter, 1, {5, 5, 5, 5});
  queue.Add(2, kNoAdapter, 1, {5, 5});
  queue.Add(3, kNoAdapter, 1, {5});
  EXPECT_THAT(Take(queue, 7),
              ElementsAre(Place(1, 0), Place(2, 0), Place(3, 0), Place(1, 1), Place(2, 1), Place(1, 2), Place(1, 3)));
  EXPECT_EQ(queue.rows(), 0);
  EXPECT_EQ(queue.tokens(), 0);
}

TEST(JoinQueue, ALateShortCallIsBeforeALongOnesNextRow) {
  JoinQueue queue;
  queue.Add(1, kNoAdapter, 1, {5, 5, 5, 5});
  EXPECT_EQ(Take(queue, 2).size(), 2u);
  queue.Add(2, kNoAdapter, 1, {5, 5});
  queue.Left(1);  // one of its two
  EXPECT_THAT(Take(queue, 4), ElementsAre(Place(2, 0), Place(1, 2), Place(2, 1), Place(1, 3)));
}

TEST(JoinQueue, LinesCountNotRows) {
  JoinQueue queue;
  queue.Add(1, kNoAdapter, 4, {5, 5});
  queue.Add(2, kNoAdapter, 1, {5, 5, 5, 5, 5});
  EXPECT_THAT(Take(queue, 6),
              ElementsAre(Place(1, 0), Place(2, 0), Place(2, 1), Place(2, 2), Place(2, 3), Place(1, 1)));
}

TEST(JoinQueue, AnAdapterThatIsNotReadyHoldsUpNobody) {
  JoinQueue queue;
  queue.Add(1, 7, 1, {5});
  queue.Add(2, 8, 1, {6});
  EXPECT_THAT(Take(queue, 2, [](AdapterId id) { return id == 8; }), ElementsAre(Place(2, 0)));
  EXPECT_EQ(queue.tokens(), 5);
  EXPECT_FALSE(queue.Next([](AdapterId) { return false; }).has_value());
  EXPECT_THAT(Take(queue, 2), ElementsAre(Place(1, 0)));
}

TEST(JoinQueue, WhatIsPutBackKeepsItsPlace) {
  JoinQueue queue;
  queue.Add(1, kNoAdapter, 1, {5, 6});
  const auto row = queue.Next(Any);
  queue.Take(*row);
  queue.PutBack(*row);
  EXPECT_EQ(queue.rows(), 2);
  EXPECT_EQ(queue.tokens(), 11);
  EXPECT_THAT(Take(queue, 2), ElementsAre(Place(1, 0), Place(1, 1)));
}

TEST(JoinQueue, ARemovedCallIsGone) {
  JoinQueue queue;
  queue.Add(1, kNoAdapter, 1, {5, 6});
  queue.Add(2, kNoAdapter, 1, {7});
  const auto row = queue.Next(Any);
  queue.Take(*row);
  queue.Remove(1);
  queue.Remove(1);
  queue.PutBack(*row);
  queue.Left(1);
  EXPECT_EQ(queue.tokens(), 7);
  EXPECT_THAT(Take(queue, 3), ElementsAre(Place(2, 0)));
}

}  // namespace
}  // namespace tenon::runtime
