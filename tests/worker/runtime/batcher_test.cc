#include "worker/runtime/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace tenon::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

bool Always(AdapterId) { return true; }

std::map<uint64_t, int> RowsByCall(const Batcher::Batch& batch) {
  std::map<uint64_t, int> rows;
  for (const auto& row : batch.rows) ++rows[row.call];
  return rows;
}

TEST(Batcher, EmptyGivesNothing) {
  Batcher batcher({});
  EXPECT_FALSE(batcher.HasReady(Always));
  EXPECT_THAT(batcher.Next(Always).rows, SizeIs(0));
}

TEST(Batcher, MixesAdaptersAndSortsThemTogether) {
  Batcher batcher({.max_tokens = 100, .max_rows = 10});
  batcher.Add(1, 1, 7, {5, 9});
  batcher.Add(2, 1, kNoAdapter, {4});
  batcher.Add(3, 1, 7, {6});
  const auto batch = batcher.Next(Always);
  EXPECT_EQ(batch.tokens, 24);
  EXPECT_EQ(batch.distinct_adapters, 2);
  std::vector<std::pair<AdapterId, int>> order;
  for (const auto& row : batch.rows) order.emplace_back(row.adapter, row.tokens);
  EXPECT_THAT(order, ElementsAre(std::pair(0, 4), std::pair(7, 9), std::pair(7, 6), std::pair(7, 5)));
  EXPECT_EQ(batcher.rows(), 0);
  EXPECT_EQ(batcher.tokens(), 0);
}

TEST(Batcher, KeepsToTheBudgets) {
  Batcher batcher({.max_tokens = 64, .max_rows = 5});
  batcher.Add(1, 1, kNoAdapter, std::vector<int32_t>(40, 10));
  batcher.Add(2, 1, kNoAdapter, std::vector<int32_t>(40, 20));
  while (batcher.HasReady(Always)) {
    const auto batch = batcher.Next(Always);
    EXPECT_LE(batch.tokens, 64);
    EXPECT_THAT(batch.rows, SizeIs(::testing::Le(5)));
    EXPECT_FALSE(batch.rows.empty());
  }
}

TEST(Batcher, ATextLongerThanTheBudgetGoesAlone) {
  Batcher batcher({.max_tokens = 64, .max_rows = 5});
  batcher.Add(1, 1, kNoAdapter, {500});
  batcher.Add(2, 1, kNoAdapter, {3});
  EXPECT_THAT(RowsByCall(batcher.Next(Always)), ElementsAre(std::pair(1, 1)));
  EXPECT_THAT(RowsByCall(batcher.Next(Always)), ElementsAre(std::pair(2, 1)));
}

TEST(Batcher, AShortCallBehindALongOneIsInTheNextBatch) {
  Batcher batcher({.max_tokens = 100, .max_rows = 100});
  batcher.Add(1, 1, kNoAdapter, std::vector<int32_t>(1000, 10));
  batcher.Add(2, 1, 3, {10});
  const auto rows = RowsByCall(batcher.Next(Always));
  EXPECT_EQ(rows.at(2), 1);
  EXPECT_EQ(rows.at(1), 9) << "the rest of the budget is not left empty";
}

TEST(Batcher, TheOldestCallGoesOnWhateverArrives) {
  Batcher batcher({.max_tokens = 100, .max_rows = 100});
  batcher.Add(1, 1, kNoAdapter, std::vector<int32_t>(50, 10));
  int batches = 0;
  for (uint64_t next = 2; batcher.rows() > 0 && batches < 100; ++batches) {
    for (int i = 0; i < 10; ++i) batcher.Add(next++, 1, kNoAdapter, std::vector<int32_t>(5, 10));
    const auto rows = RowsByCall(batcher.Next(Always));
    if (!rows.contains(1)) break;
    EXPECT_GE(rows.at(1), 5) << "half of the budget";
  }
  EXPECT_EQ(batches, 10);
}

TEST(Batcher, RowsWhoseAdapterIsNotThereWaitAndHoldUpNobody) {
  Batcher batcher({.max_tokens = 100, .max_rows = 100});
  batcher.Add(1, 1, 5, {10, 10});
  batcher.Add(2, 1, 6, {10});
  const auto six = [](AdapterId id) { return id == 6; };
  EXPECT_THAT(RowsByCall(batcher.Next(six)), ElementsAre(std::pair(2, 1)));
  EXPECT_FALSE(batcher.HasReady(six));
  EXPECT_TRUE(batcher.HasReady(Always));
  EXPECT_THAT(RowsByCall(batcher.Next(Always)), ElementsAre(std::pair(1, 2)));
}

TEST(Batcher, ABatchHasOneBaseTheOldestReadyCallsOwn) {
  Batcher batcher({.max_tokens = 100, .max_rows = 100});
  batcher.Add(1, 8, kNoAdapter, {10});
  batcher.Add(2, 9, kNoAdapter, {10});
  batcher.Add(3, 8, kNoAdapter, {10});
  const auto batch = batcher.Next(Always);
  EXPECT_EQ(batch.base, 8u);
  EXPECT_THAT(RowsByCall(batch), ElementsAre(std::pair(1, 1), std::pair(3, 1)));
  EXPECT_EQ(batcher.Next(Always).base, 9u);
}

TEST(Batcher, ACallsBatchesHaveRowsOfLikeLength) {
  Batcher batcher({.max_tokens = 100, .max_rows = 100});
  batcher.Add(1, 1, kNoAdapter, {2, 50, 3, 50, 2, 40, 4});
  std::vector<int32_t> seen;
  while (batcher.HasReady(Always)) {
    for (const auto& row : batcher.Next(Always).rows) seen.push_back(row.tokens);
  }
  EXPECT_TRUE(std::is_sorted(seen.rbegin(), seen.rend()));
}

TEST(Batcher, RemoveForgetsWhatWaits) {
  Batcher batcher({.max_tokens = 10, .max_rows = 100});
  batcher.Add(1, 1, kNoAdapter, {10, 10});
  batcher.Add(2, 1, kNoAdapter, {10});
  batcher.Next(Always);
  batcher.Remove(1);
  batcher.Remove(1);
  EXPECT_EQ(batcher.tokens(), 10);
  EXPECT_THAT(RowsByCall(batcher.Next(Always)), ElementsAre(std::pair(2, 1)));
}

TEST(Batcher, EveryRowRunsExactlyOnce) {
  std::mt19937 random(17);
  Batcher batcher({.max_tokens = 200, .max_rows = 12});
  std::multiset<std::pair<uint64_t, int32_t>> waiting;
  uint64_t next = 1;
  for (int round = 0; round < 400; ++round) {
    if (round < 300) {
      std::vector<int32_t> tokens(1 + random() % 20);
      for (size_t i = 0; i < tokens.size(); ++i) {
        tokens[i] = static_cast<int32_t>(2 + random() % 60);
        waiting.emplace(next, static_cast<int32_t>(i));
      }
      batcher.Add(next, random() % 2, random() % 5, tokens);
      ++next;
    }
    const AdapterId missing = round < 300 ? random() % 5 : 99;
    for (const auto& row : batcher.Next([&](AdapterId id) { return id != missing; }).rows) {
      EXPECT_NE(row.adapter, missing);
      const auto found = waiting.find({row.call, row.index});
      ASSERT_NE(found, waiting.end());
      waiting.erase(found);
    }
  }
  while (batcher.HasReady(Always)) {
    for (const auto& row : batcher.Next(Always).rows) waiting.erase(waiting.find({row.call, row.index}));
  }
  EXPECT_TRUE(waiting.empty());
  EXPECT_EQ(batcher.tokens(), 0);
}

}  // namespace
}  // namespace tenon::runtime
