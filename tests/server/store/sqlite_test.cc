// What is particular to the SQLite store: its file, its lock, its faults.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <thread>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "common/formats/status.h"
#include "server/store/sqlite/database.h"
#include "server/store/sqlite/schema.h"
#include "server/store/sqlite/sqlite_store.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::server {
namespace {

using ::testing::HasSubstr;

class SqliteStoreTest : public testing::Test {
 protected:
  SqliteStoreTest() { options_.folder = folder_.path(); }
  std::unique_ptr<Store> Open() {
    auto store = OpenSqliteStore(options_);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }
  static Record Big(int number) {
    Record record;
    record.tenant = "t";
    record.kind = "k";
    record.id = std::to_string(number);
    record.body = std::string(20'000, 'x');
    return record;
  }
  static absl::Status InsertBig(Store& store, int number) {
    return store.Write([&](Transaction& t) { return t.Insert(Big(number)); });
  }
  static int64_t CountRecords(Store& store) {
    int64_t count = -1;
    EXPECT_TRUE(store
                    .Read([&](Snapshot& snapshot) -> absl::Status {
                      ASSIGN_OR_RETURN(count, snapshot.Count("t", "k", std::nullopt));
                      return absl::OkStatus();
                    })
                    .ok());
    return count;
  }

  // Writes records that all wait while the writer is held, so that they become one group; each body ends with its
  // status. What became of them.
  static std::vector<absl::Status> WriteAtOnce(Store& store, const std::vector<absl::Status>& ends) {
    absl::Notification entered, release;
    store.WriteAsync(
        [&](Transaction&) {
          entered.Notify();
          release.WaitForNotification();
          return absl::OkStatus();
        },
        [](absl::Status) {});
    entered.WaitForNotification();
    std::vector<absl::Status> results(ends.size());
    absl::BlockingCounter left(static_cast<int>(ends.size()));
    for (size_t i = 0; i < ends.size(); ++i) {
      store.WriteAsync(
          [&, i](Transaction& t) -> absl::Status {
            RETURN_IF_ERROR(t.Insert(Big(static_cast<int>(i))));
            return ends[i];
          },
          [&, i](absl::Status status) {
            results[i] = status;
            left.DecrementCount();
          });
    }
    release.Notify();
    left.Wait();
    return results;
  }

  test::TempFolder folder_;
  SqliteOptions options_;
};

TEST_F(SqliteStoreTest, ASecondServerOnTheFolderIsRefused) {
  auto first = Open();
  const auto second = OpenSqliteStore(options_);
  EXPECT_EQ(GetReason(second.status()), Reason::kInUse);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("process " + std::to_string(getpid())));
  first = nullptr;
  EXPECT_TRUE(OpenSqliteStore(options_).ok());
}

TEST_F(SqliteStoreTest, UsesWalFullSyncAndNoMmap) {
  const auto store = Open();
  const auto database = *Database::Open(folder_.path() / "tenon.sqlite", Database::Mode::kQueryOnly);
  const auto pragma = [&](const std::string& name) {
    Query query(*database, "PRAGMA " + name);
    EXPECT_TRUE(*query.Step());
    return query.Bytes(0);
  };
  EXPECT_EQ(pragma("journal_mode"), "wal");
  EXPECT_EQ(pragma("synchronous"), "2");
  EXPECT_EQ(pragma("mmap_size"), "0");
  EXPECT_EQ(pragma("user_version"), std::to_string(SchemaVersion()));
}

TEST_F(SqliteStoreTest, ANewerSchemaIsRefused) {
  Open();
  {
    const auto database = *Database::Open(folder_.path() / "tenon.sqlite", Database::Mode::kReadWrite);
    ASSERT_TRUE(database->Exec("PRAGMA user_version=99").ok());
  }
  const auto store = OpenSqliteStore(options_);
  EXPECT_EQ(GetReason(store.status()), Reason::kStorageFault);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("schema version 99"));
}

TEST_F(SqliteStoreTest, AFileThatIsNoDatabaseIsRefused) {
  std::ofstream(folder_.path() / "tenon.sqlite") << std::string(8192, 'x');
  EXPECT_EQ(GetReason(OpenSqliteStore(options_).status()), Reason::kStorageFault);
}

TEST_F(SqliteStoreTest, AFullDiskRefusesWritesAndRecovers) {
  options_.max_bytes = 400'000;
  const auto store = Open();
  int stored = 0;
  absl::Status status;
  while (stored < 1000 && (status = InsertBig(*store, stored)).ok()) ++stored;
  EXPECT_EQ(GetReason(status), Reason::kDiskFull);
  EXPECT_GT(stored, 5);
  EXPECT_FALSE(store->writable());
  EXPECT_EQ(CountRecords(*store), stored) << "reads go on, and the refused record is not there";
  ASSERT_TRUE(store
                  ->Write([](Transaction& t) -> absl::Status {
                    RETURN_IF_ERROR(t.Delete("t", "k", "0"));
                    return t.Delete("t", "k", "1");
                  })
                  .ok());
  EXPECT_TRUE(store->writable());
  EXPECT_TRUE(InsertBig(*store, stored).ok());
}

TEST_F(SqliteStoreTest, AFullDiskVoidsTheWholeGroupAndNothingElse) {
  options_.max_bytes = 300'000;
  const auto store = Open();
  int acknowledged = 0;
  for (const absl::Status& status : WriteAtOnce(*store, std::vector(40, absl::OkStatus()))) {
    EXPECT_TRUE(status.ok() || GetReason(status) == Reason::kDiskFull) << status;
    acknowledged += status.ok() ? 1 : 0;
  }
  EXPECT_EQ(CountRecords(*store), acknowledged);
}

TEST_F(SqliteStoreTest, AnErrorInAGroupConcernsItsBodyAlone) {
  const auto store = Open();
  const auto results = WriteAtOnce(*store, {absl::OkStatus(), absl::InvalidArgumentError("no"), absl::OkStatus()});
  EXPECT_TRUE(results[0].ok());
  EXPECT_TRUE(absl::IsInvalidArgument(results[1]));
  EXPECT_TRUE(results[2].ok());
  EXPECT_EQ(CountRecords(*store), 2);
}

// A limit on file sizes makes the system refuse writes; what SQLite sees is an I/O error.
TEST_F(SqliteStoreTest, AnIoErrorRefusesWritesAndRecovers) {
  const auto store = Open();
  ASSERT_TRUE(InsertBig(*store, 0).ok());
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit = old_limit;
  limit.rlim_cur = 1;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status status = InsertBig(*store, 1);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(GetReason(status), Reason::kStorageFault) << status;
  EXPECT_FALSE(store->writable());
  EXPECT_EQ(CountRecords(*store), 1);
  EXPECT_TRUE(InsertBig(*store, 1).ok());
  EXPECT_TRUE(store->writable());
  EXPECT_EQ(CountRecords(*store), 2);
}

TEST_F(SqliteStoreTest, WritesBeyondTheQueueAreRefusedWithoutWaiting) {
  options_.max_queued_writes = 2;
  const auto store = Open();
  const auto results = WriteAtOnce(*store, std::vector(4, absl::OkStatus()));
  EXPECT_TRUE(results[0].ok());
  EXPECT_TRUE(results[1].ok());
  EXPECT_EQ(GetReason(results[2]), Reason::kQueueFull);
  EXPECT_EQ(GetReason(results[3]), Reason::kQueueFull);
  EXPECT_TRUE(InsertBig(*store, 9).ok());
}

TEST_F(SqliteStoreTest, ABodyThatIgnoresAFailedStatementIsNotCommitted) {
  options_.max_bytes = 200'000;
  const auto store = Open();
  const absl::Status status = store->Write([](Transaction& t) {
    for (int i = 0; i < 50; ++i) (void)t.Insert(Big(i));
    return absl::OkStatus();
  });
  EXPECT_EQ(GetReason(status), Reason::kDiskFull);
  EXPECT_EQ(CountRecords(*store), 0);
}

}  // namespace
}  // namespace tenon::server
