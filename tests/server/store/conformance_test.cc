// What every Store must do. One factory for each implementation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/clock.h"
#include "common/formats/status.h"
#include "server/store/sqlite/sqlite_store.h"
#include "server/store/store.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Implementation {
  std::string name;
  // Opens the store of a folder; the same folder again gives the same data.
  std::function<std::unique_ptr<Store>(const std::filesystem::path&, const Clock&)> open;
};

std::unique_ptr<Store> OpenSqlite(const std::filesystem::path& folder, const Clock& clock) {
  SqliteOptions options;
  options.folder = folder;
  options.clock = &clock;
  auto store = OpenSqliteStore(options);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

class StoreConformance : public testing::TestWithParam<Implementation> {
 protected:
  StoreConformance() { Reopen(); }
  void Reopen() {
    store_ = nullptr;
    store_ = GetParam().open(folder_.path(), clock_);
  }

  static Record MakeRecord(const std::string& id, int64_t second = 0, const std::string& tenant = "t1") {
    Record record;
    record.tenant = tenant;
    record.kind = "adapter";
    record.id = id;
    record.create_time = absl::FromUnixSeconds(1'000 + second) + absl::Microseconds(7);
    record.body = "body of " + id;
    return record;
  }
  absl::Status Insert(const Record& record) {
    return store_->Write([&](Transaction& transaction) { return transaction.Insert(record); });
  }
  absl::StatusOr<Record> Get(const std::string& id, const std::string& tenant = "t1") {
    absl::StatusOr<Record> found;
    EXPECT_TRUE(store_
                    ->Read([&](Snapshot& snapshot) {
                      found = snapshot.Get(tenant, "adapter", id);
                      return absl::OkStatus();
                    })
                    .ok());
    return found;
  }
  absl::StatusOr<ListPage> List(const ListQuery& query) {
    absl::StatusOr<ListPage> page;
    EXPECT_TRUE(store_
                    ->Read([&](Snapshot& snapshot) {
                      page = snapshot.List(query);
                      return absl::OkStatus();
                    })
                    .ok());
    return page;
  }
  static std::vector<std::string> Ids(const ListPage& page) {
    std::vector<std::string> ids;
    for (const Record& record : page.records) ids.push_back(record.id);
    return ids;
  }

  test::TempFolder folder_;
  ManualClock clock_;
  std::unique_ptr<Store> store_;
};

TEST_P(StoreConformance, GivesBackWhatWasInserted) {
  Record record = MakeRecord("a");
  record.parent = "p";
  record.state = "QUEUED";
  record.term = 3;
  record.body = std::string("\0binary\xff", 8);
  ASSERT_TRUE(Insert(record).ok());
  Reopen();
  const auto found = Get("a");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->parent, "p");
  EXPECT_EQ(found->state, "QUEUED");
  EXPECT_EQ(found->term, 3);
  EXPECT_EQ(found->create_time, record.create_time);
  EXPECT_EQ(found->body, record.body);
}

TEST_P(StoreConformance, MissesAreNotFoundWithoutAReason) {
  EXPECT_TRUE(absl::IsNotFound(Get("a").status()));
  EXPECT_EQ(GetReason(Get("a").status()), Reason::kUnspecified);
  const absl::Status update = store_->Write([](Transaction& t) { return t.Update(MakeRecord("a"), std::nullopt); });
  EXPECT_TRUE(absl::IsNotFound(update));
  const absl::Status erased = store_->Write([](Transaction& t) { return t.Delete("t1", "adapter", "a"); });
  EXPECT_TRUE(absl::IsNotFound(erased));
}

TEST_P(StoreConformance, KeysAreUniqueWithinATenant) {
  ASSERT_TRUE(Insert(MakeRecord("a")).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Insert(MakeRecord("a"))));
  EXPECT_TRUE(Insert(MakeRecord("a", 0, "t2")).ok());
  EXPECT_TRUE(absl::IsNotFound(Get("a", "t3").status()));
}

TEST_P(StoreConformance, UpdateIsFencedByTerm) {
  Record record = MakeRecord("a");
  record.term = 1;
  ASSERT_TRUE(Insert(record).ok());
  record.term = 2;
  record.body = "second";
  EXPECT_TRUE(store_->Write([&](Transaction& t) { return t.Update(record, 1); }).ok());
  Record stale = record;
  stale.body = "stale";
  EXPECT_EQ(GetReason(store_->Write([&](Transaction& t) { return t.Update(stale, 1); })), Reason::kStaleTerm);
  EXPECT_EQ(Get("a")->body, "second");
  EXPECT_EQ(Get("a")->term, 2);
}

TEST_P(StoreConformance, AFailedBodyLeavesNothing) {
  const absl::Status status = store_->Write([&](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(transaction.Insert(MakeRecord("a")));
    RETURN_IF_ERROR(transaction.AppendEvent("t1", "s", "e").status());
    EXPECT_TRUE(transaction.Get("t1", "adapter", "a").ok());  // its own writes are seen inside
    return absl::InvalidArgumentError("no");
  });
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_TRUE(absl::IsNotFound(Get("a").status()));
  int64_t sequence = 0;
  ASSERT_TRUE(store_
                  ->Write([&](Transaction& transaction) -> absl::Status {
                    ASSIGN_OR_RETURN(sequence, transaction.AppendEvent("t1", "s", "e"));
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_EQ(sequence, 1) << "a sequence of a rolled-back event is given again";
}

TEST_P(StoreConformance, AnExceptionRollsBackItsBodyAlone) {
  const absl::Status thrown = store_->Write([&](Transaction& transaction) -> absl::Status {
    EXPECT_TRUE(transaction.Insert(MakeRecord("a")).ok());
    throw std::runtime_error("boom");
  });
  EXPECT_FALSE(thrown.ok());
  EXPECT_TRUE(Insert(MakeRecord("b")).ok());
  EXPECT_FALSE(Get("a").ok());
  EXPECT_TRUE(Get("b").ok());
}

TEST_P(StoreConformance, ListsNewestFirstInPages) {
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(Insert(MakeRecord("r" + std::to_string(i), i / 2)).ok());
  ASSERT_TRUE(Insert(MakeRecord("other", 9, "t2")).ok());
  ListQuery query{"t1", "adapter"};
  query.limit = 3;
  std::vector<std::string> all;
  int pages = 0;
  do {
    const auto page = List(query);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const std::string& id : Ids(*page)) all.push_back(id);
    query.page_token = page->next_page_token;
    ++pages;
  } while (!query.page_token.empty());
  EXPECT_EQ(pages, 3);
  EXPECT_THAT(all, ElementsAre("r6", "r5", "r4", "r3", "r2", "r1", "r0"));
}

TEST_P(StoreConformance, APageIsBoundedByBytesToo) {
  for (int i = 0; i < 4; ++i) {
    Record record = MakeRecord("r" + std::to_string(i), i);
    record.body = std::string(100, 'x');
    ASSERT_TRUE(Insert(record).ok());
  }
  ListQuery query{"t1", "adapter"};
  query.max_bytes = 150;
  auto page = List(query);
  EXPECT_THAT(Ids(*page), ElementsAre("r3", "r2")) << "it ends with the record that reaches the bound";
  query.page_token = page->next_page_token;
  page = List(query);
  EXPECT_THAT(Ids(*page), ElementsAre("r1", "r0"));
  EXPECT_THAT(page->next_page_token, IsEmpty());
  query.page_token.clear();
  query.max_bytes = 1;
  EXPECT_THAT(Ids(*List(query)), ElementsAre("r3")) << "one at least";
}

TEST_P(StoreConformance, APageThatIsExactlyFullIsTheLast) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Insert(MakeRecord("r" + std::to_string(i), i)).ok());
  ListQuery query{"t1", "adapter"};
  query.limit = 3;
  EXPECT_THAT(List(query)->next_page_token, IsEmpty());
}

TEST_P(StoreConformance, PagesStayStableWhileRecordsAreAdded) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Insert(MakeRecord("r" + std::to_string(i), i)).ok());
  ListQuery query{"t1", "adapter"};
  query.limit = 2;
  query.page_token = List(query)->next_page_token;
  ASSERT_TRUE(Insert(MakeRecord("newer", 50)).ok());
  EXPECT_THAT(Ids(*List(query)), ElementsAre("r1", "r0"));
}

TEST_P(StoreConformance, ForeignPageTokensAreRefused) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Insert(MakeRecord("r" + std::to_string(i), i)).ok());
  ListQuery query{"t1", "adapter"};
  query.limit = 1;
  const std::string token = List(query)->next_page_token;
  ASSERT_FALSE(token.empty());
  const auto refused = [&](ListQuery other, const std::string& text) {
    other.page_token = text;
    return GetReason(List(other).status()) == Reason::kPageTokenInvalid;
  };
  EXPECT_TRUE(refused(query, "nonsense"));
  EXPECT_TRUE(refused(query, token + "00"));
  EXPECT_TRUE(refused(query, std::string(token.size(), '0')));
  EXPECT_TRUE(refused({"t2", "adapter"}, token)) << "another tenant's";
  EXPECT_TRUE(refused({"t1", "base"}, token)) << "another list's";
  query.limit = 2;
  EXPECT_FALSE(refused(query, token)) << "the page size may change";
}

TEST_P(StoreConformance, FiltersByParentStateAndId) {
  Record a = MakeRecord("a", 1), b = MakeRecord("b", 2), c = MakeRecord("c", 3, "t2");
  a.parent = "p";
  b.state = c.state = "RUNNING";
  for (const Record& record : {a, b, c}) ASSERT_TRUE(Insert(record).ok());
  ListQuery query{"t1", "adapter"};
  query.parent = "p";
  EXPECT_THAT(Ids(*List(query)), ElementsAre("a"));
  query.parent = "";
  EXPECT_THAT(Ids(*List(query)), ElementsAre("b"));
  ListQuery everywhere{"", "adapter"};
  everywhere.state = "RUNNING";
  EXPECT_THAT(Ids(*List(everywhere)), ElementsAre("c", "b"));
  ListQuery by_id{"", "adapter"};
  by_id.id = "c";
  EXPECT_THAT(Ids(*List(by_id)), ElementsAre("c"));
}

TEST_P(StoreConformance, CountsWithinTenantKindAndParent) {
  Record child = MakeRecord("a");
  child.parent = "p";
  ASSERT_TRUE(Insert(child).ok());
  ASSERT_TRUE(Insert(MakeRecord("b")).ok());
  ASSERT_TRUE(Insert(MakeRecord("c", 0, "t2")).ok());
  ASSERT_TRUE(store_
                  ->Read([&](Snapshot& snapshot) {
                    EXPECT_EQ(*snapshot.Count("t1", "adapter", std::nullopt), 2);
                    EXPECT_EQ(*snapshot.Count("t1", "adapter", "p"), 1);
                    EXPECT_EQ(*snapshot.Count("t1", "base", std::nullopt), 0);
                    return absl::OkStatus();
                  })
                  .ok());
}

TEST_P(StoreConformance, EventSequencesHaveNoGaps) {
  for (const char* stream : {"s1", "s2", "s1"}) {
    ASSERT_TRUE(store_
                    ->Write([&](Transaction& t) -> absl::Status {
                      RETURN_IF_ERROR(t.AppendEvent("t1", stream, "x").status());
                      return t.AppendEvent("t1", stream, "y").status();
                    })
                    .ok());
  }
  ASSERT_TRUE(store_
                  ->Read([&](Snapshot& snapshot) {
                    const auto events = *snapshot.Events("t1", "s1", 1, 2);
                    EXPECT_EQ(events.size(), 2u);
                    EXPECT_EQ(events[0].sequence, 2);
                    EXPECT_EQ(events[0].body, "y");
                    EXPECT_EQ(events[1].sequence, 3);
                    EXPECT_EQ(snapshot.Events("t1", "s1", 0, 100)->size(), 4u);
                    EXPECT_TRUE(snapshot.Events("t2", "s1", 0, 100)->empty());
                    return absl::OkStatus();
                  })
                  .ok());
  ASSERT_TRUE(store_
                  ->Read([&](Snapshot& snapshot) {
                    EXPECT_EQ(snapshot.Events("t1", "s2", 0, 100)->size(), 2u);
                    return absl::OkStatus();
                  })
                  .ok());
}

TEST_P(StoreConformance, RequestsAreClaimedOnce) {
  const auto claim = [&](const std::string& digest, const std::string& resource, const std::string& tenant = "t1") {
    absl::StatusOr<std::optional<std::string>> result;
    const absl::Status status = store_->Write([&](Transaction& t) {
      result = t.ClaimRequest(tenant, "Create", "key", digest, resource);
      return result.status();
    });
    if (!status.ok()) result = status;
    return result;
  };
  EXPECT_EQ(*claim("d1", "a"), std::nullopt);
  Reopen();
  EXPECT_EQ(*claim("d1", "b"), "a");
  EXPECT_EQ(GetReason(claim("d2", "b").status()), Reason::kRequestIdReused);
  EXPECT_EQ(*claim("d2", "c", "t2"), std::nullopt);
}

TEST_P(StoreConformance, ARolledBackRequestCanBeClaimedAgain) {
  const absl::Status failed = store_->Write([](Transaction& t) -> absl::Status {
    RETURN_IF_ERROR(t.ClaimRequest("t1", "Create", "key", "d", "a").status());
    return absl::InvalidArgumentError("no");
  });
  EXPECT_FALSE(failed.ok());
  ASSERT_TRUE(store_
                  ->Write([](Transaction& t) -> absl::Status {
                    ASSIGN_OR_RETURN(const auto made, t.ClaimRequest("t1", "Create", "key", "other", "b"));
                    EXPECT_FALSE(made.has_value());
                    return absl::OkStatus();
                  })
                  .ok());
}

class StoreDocuments : public StoreConformance {
 protected:
  std::vector<int64_t> Put(const std::vector<DocumentRecord>& documents, const std::string& collection = "c") {
    std::vector<int64_t> numbers;
    EXPECT_TRUE(store_
                    ->Write([&](Transaction& t) -> absl::Status {
                      ASSIGN_OR_RETURN(numbers, t.PutDocuments("t1", collection, documents));
                      return absl::OkStatus();
                    })
                    .ok());
    return numbers;
  }
};

TEST_P(StoreDocuments, NumbersAreNeverUsedAgain) {
  EXPECT_THAT(Put({{"a", 0, {1.5f, -2}, "A"}, {"b", 0, {3, 4}, "B"}}), ElementsAre(1, 2));
  EXPECT_THAT(Put({{"a", 0, {5, 6}, "A2"}}), ElementsAre(3)) << "a replaced document gets a new number";
  ASSERT_TRUE(store_
                  ->Write([](Transaction& t) -> absl::Status {
                    ASSIGN_OR_RETURN(const auto numbers, t.DeleteDocuments("t1", "c", {"b", "missing"}));
                    EXPECT_THAT(numbers, ElementsAre(2));
                    return t.DeleteAllDocuments("t1", "c");
                  })
                  .ok());
  Reopen();
  EXPECT_THAT(Put({{"z", 0, {0, 0}, ""}}), ElementsAre(4)) << "also after all were deleted";
  EXPECT_THAT(Put({{"z", 0, {0, 0}, ""}}, "other"), ElementsAre(1));
}

TEST_P(StoreDocuments, AreReadBackExactly) {
  const std::string odd_id = std::string("o\0dd ", 5) + "\xc3\xa9";
  Put({{odd_id, 0, {1.5f, -0.0f, 1e-38f}, "body"}, {"b", 0, {2}, ""}});
  ASSERT_TRUE(
      store_
          ->Read([&](Snapshot& snapshot) {
            const auto document = snapshot.GetDocument("t1", "c", 1);
            EXPECT_TRUE(document.ok());
            EXPECT_EQ(document->id, odd_id);
            EXPECT_EQ(document->body, "body");
            EXPECT_THAT(document->vector, ElementsAre(1.5f, -0.0f, 1e-38f));
            EXPECT_TRUE(absl::IsNotFound(snapshot.GetDocument("t1", "c", 9).status()));
            EXPECT_THAT(*snapshot.DocumentNumbers("t1", "c", {"b", "no", odd_id}), ElementsAre(2, -1, 1));
            EXPECT_EQ(*snapshot.CountDocuments("t1", "c"), 2);
            EXPECT_EQ(*snapshot.CountDocuments("t2", "c"), 0);
            std::vector<int64_t> seen;
            EXPECT_TRUE(
                snapshot.ScanDocuments("t1", "c", 1, [&](const DocumentRecord& d) { seen.push_back(d.number); }).ok());
            EXPECT_THAT(seen, ElementsAre(2));
            return absl::OkStatus();
          })
          .ok());
}

TEST_P(StoreConformance, ASnapshotDoesNotMove) {
  ASSERT_TRUE(Insert(MakeRecord("a", 1)).ok());
  ASSERT_TRUE(store_
                  ->Read([&](Snapshot& snapshot) {
                    EXPECT_EQ(*snapshot.Count("t1", "adapter", std::nullopt), 1);
                    EXPECT_TRUE(Insert(MakeRecord("b", 2)).ok()) << "readers do not block the writer";
                    EXPECT_EQ(*snapshot.Count("t1", "adapter", std::nullopt), 1);
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_TRUE(Get("b").ok());
}

TEST_P(StoreConformance, ManyThreadsWriteAndAnswersMatch) {
  constexpr int kThreads = 8, kEach = 40;
  std::atomic<int> refused = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kEach; ++i) {
        // Every second id is fought over by all threads.
        const std::string id = i % 2 == 0 ? "shared-" + std::to_string(i) : "own-" + std::to_string(thread * kEach + i);
        const absl::Status status = Insert(MakeRecord(id, i));
        if (absl::IsAlreadyExists(status)) {
          ++refused;
        } else {
          EXPECT_TRUE(status.ok()) << status;
          EXPECT_TRUE(Get(id).ok()) << "acknowledged is readable";
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused, (kThreads - 1) * kEach / 2);
}

TEST_P(StoreConformance, AsyncAnswersComeInOrder) {
  absl::Mutex mutex;
  std::vector<int> order;
  absl::Notification last;
  for (int i = 0; i < 50; ++i) {
    store_->WriteAsync([i](Transaction& t) { return t.Insert(MakeRecord("r" + std::to_string(i), i)); },
                       [&, i](absl::Status status) {
                         EXPECT_TRUE(status.ok()) << status;
                         absl::MutexLock lock(&mutex);
                         order.push_back(i);
                         if (i == 49) last.Notify();
                       });
  }
  last.WaitForNotification();
  absl::MutexLock lock(&mutex);
  ASSERT_EQ(order.size(), 50u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_P(StoreConformance, DestructionFinishesWhatWasQueued) {
  std::atomic<int> answered = 0;
  for (int i = 0; i < 20; ++i) {
    store_->WriteAsync([i](Transaction& t) { return t.Insert(MakeRecord("r" + std::to_string(i), i)); },
                       [&](absl::Status status) { answered += status.ok() ? 1 : 0; });
  }
  Reopen();
  EXPECT_EQ(answered, 20);
  EXPECT_TRUE(Get("r19").ok());
}

const auto kImplementations = testing::Values(Implementation{"Sqlite", OpenSqlite});
const auto kName = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(All, StoreConformance, kImplementations, kName);
INSTANTIATE_TEST_SUITE_P(All, StoreDocuments, kImplementations, kName);

}  // namespace
}  // namespace tenon::server
