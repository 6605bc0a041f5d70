#include "server/retrieval/index_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/formats/status.h"

namespace tenon::server {
namespace {

IndexSpec Spec() {
  IndexSpec spec;
  spec.dimensions = 2;
  return spec;
}

// A store of documents by collection, and how often each was read.
struct Documents {
  absl::Mutex mutex;
  std::map<IndexCache::Key, std::map<std::string, IndexDocument>> by_key ABSL_GUARDED_BY(mutex);
  std::map<IndexCache::Key, int> reads ABSL_GUARDED_BY(mutex);
  int64_t next_number ABSL_GUARDED_BY(mutex) = 1;

  IndexCache::Loader Loader() {
    return [this](const IndexCache::Key& key, const std::function<void(IndexDocument)>& add) {
      absl::MutexLock lock(&mutex);
      ++reads[key];
      for (const auto& [id, document] : by_key[key]) add(document);
      return absl::OkStatus();
    };
  }
  // Commits a document and says so.
  absl::StatusOr<IndexChange> Put(const IndexCache::Key& key, const std::string& id) {
    absl::MutexLock lock(&mutex);
    const IndexDocument document{next_number++, id, {}, {1, 0}};
    by_key[key][id] = document;
    IndexChange change;
    change.put.push_back(document);
    return change;
  }
  int Reads(const IndexCache::Key& key) {
    absl::MutexLock lock(&mutex);
    return reads[key];
  }
};

int64_t Size(IndexCache& cache, const IndexCache::Key& key) {
  const auto index = cache.Get(key, Spec());
  EXPECT_TRUE(index.ok()) << index.status();
  return (*index)->size();
}

const IndexCache::Key kKey("default", "one");

TEST(IndexCacheTest, BuildsOnceAndFollowsChanges) {
  Documents documents;
  IndexCache cache(documents.Loader(), 1 << 20);
  ASSERT_TRUE(cache.Change(kKey, [&] { return documents.Put(kKey, "a"); }).ok());
  EXPECT_EQ(documents.Reads(kKey), 0);  // nobody searched yet
  EXPECT_EQ(Size(cache, kKey), 1);
  ASSERT_TRUE(cache.Change(kKey, [&] { return documents.Put(kKey, "b"); }).ok());
  ASSERT_TRUE(cache.Change(kKey, [&] { return documents.Put(kKey, "b"); }).ok());
  EXPECT_EQ(Size(cache, kKey), 2);
  EXPECT_EQ(documents.Reads(kKey), 1);
}

TEST(IndexCacheTest, AFailedCommitChangesNothing) {
  Documents documents;
  IndexCache cache(documents.Loader(), 1 << 20);
  EXPECT_EQ(Size(cache, kKey), 0);
  const absl::Status status = cache.Change(
      kKey, []() -> absl::StatusOr<IndexChange> { return TenonError(Reason::kDiskFull, "the disk is full"); });
  EXPECT_EQ(GetReason(status), Reason::kDiskFull);
  EXPECT_EQ(Size(cache, kKey), 0);
}

TEST(IndexCacheTest, AFailedBuildIsTriedAgain) {
  bool broken = true;
  IndexCache cache(
      [&](const IndexCache::Key&, const std::function<void(IndexDocument)>& add) -> absl::Status {
        if (broken) return TenonError(Reason::kStorageFault, "unreadable");
        add({1, "a", {}, {1, 0}});
        return absl::OkStatus();
      },
      1 << 20);
  EXPECT_EQ(GetReason(cache.Get(kKey, Spec()).status()), Reason::kStorageFault);
  broken = false;
  EXPECT_EQ(Size(cache, kKey), 1);
}

TEST(IndexCacheTest, ForgetsTheLeastRecentlyUsed) {
  Documents documents;
  const std::vector<IndexCache::Key> keys = {{"t", "1"}, {"t", "2"}, {"t", "3"}};
  for (const auto& key : keys) {
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(documents.Put(key, absl::StrCat(i)).ok());
  }
  int64_t one = 0;
  {
    IndexCache cache(documents.Loader(), 1 << 30);
    ASSERT_TRUE(cache.Get(keys[0], Spec()).ok());
    one = cache.bytes();
  }
  IndexCache cache(documents.Loader(), 2 * one + one / 2);
  for (const auto& key : {keys[0], keys[1], keys[0], keys[2]}) ASSERT_TRUE(cache.Get(key, Spec()).ok());
  EXPECT_EQ(cache.count(), 2);
  EXPECT_LE(cache.bytes(), 2 * one + one / 2);
  const int before = documents.Reads(keys[0]);
  EXPECT_EQ(Size(cache, keys[0]), 100);  // still there
  EXPECT_EQ(documents.Reads(keys[0]), before);
  EXPECT_EQ(Size(cache, keys[1]), 100);  // read again
  EXPECT_EQ(documents.Reads(keys[1]), 2);
}

TEST(IndexCacheTest, KeepsTheOneInUseEvenWhenItIsTooLarge) {
  Documents documents;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(documents.Put(kKey, absl::StrCat(i)).ok());
  IndexCache cache(documents.Loader(), 10);
  EXPECT_EQ(Size(cache, kKey), 100);
  EXPECT_EQ(Size(cache, kKey), 100);
  EXPECT_EQ(documents.Reads(kKey), 1);
}

TEST(IndexCacheTest, ADroppedCollectionIsGone) {
  Documents documents;
  IndexCache cache(documents.Loader(), 1 << 20);
  ASSERT_TRUE(cache.Change(kKey, [&] { return documents.Put(kKey, "a"); }).ok());
  EXPECT_EQ(Size(cache, kKey), 1);
  cache.Drop(kKey);
  EXPECT_EQ(cache.count(), 0);
  EXPECT_EQ(cache.bytes(), 0);
}

TEST(IndexCacheTest, TooManyWaitingForABuildAreRefused) {
  absl::Notification building, go_on;
  IndexCache cache(
      [&](const IndexCache::Key&, const std::function<void(IndexDocument)>&) {
        building.Notify();
        go_on.WaitForNotification();
        return absl::OkStatus();
      },
      1 << 20);
  std::atomic<int> refused = 0, served = 0;
  std::vector<std::thread> callers;
  callers.emplace_back([&] { EXPECT_TRUE(cache.Get(kKey, Spec()).ok()); });
  building.WaitForNotification();
  for (int i = 0; i < 12; ++i) {
    callers.emplace_back([&] {
      const auto index = cache.Get(kKey, Spec());
      if (index.ok()) ++served;
      if (GetReason(index.status()) == Reason::kQueueFull) ++refused;
      // Four may wait; the others are refused before the build ends, which lets it end.
      if (refused == 8 && !go_on.HasBeenNotified()) go_on.Notify();
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(refused, 8);
  EXPECT_EQ(served, 4);
}

TEST(IndexCacheTest, NoChangeIsLostOrRepeatedBesideBuilds) {
  Documents documents;
  // So small that indexes are dropped and built again all the time.
  IndexCache cache(documents.Loader(), 1);
  constexpr int kThreads = 4, kEach = 200;
  const std::vector<IndexCache::Key> keys = {{"t", "1"}, {"t", "2"}};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const IndexCache::Key& key = keys[t % 2];
      for (int i = 0; i < kEach; ++i) {
        ASSERT_TRUE(cache.Change(key, [&] { return documents.Put(key, absl::StrCat(t, "-", i)); }).ok());
        const auto index = cache.Get(keys[i % 2], Spec());
        if (!index.ok()) {
          ASSERT_EQ(GetReason(index.status()), Reason::kQueueFull);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& key : keys) EXPECT_EQ(Size(cache, key), 2 * kEach);
}

}  // namespace
}  // namespace tenon::server
