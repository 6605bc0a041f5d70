#include "server/store/sqlite/sqlite_store.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/formats/status.h"
#include "server/store/sqlite/database.h"
#include "server/store/sqlite/folder_lock.h"
#include "server/store/sqlite/schema.h"
#include "server/store/sqlite/sqlite_snapshot.h"
#include "server/store/sqlite/writer.h"

namespace tenon::server {
namespace {

constexpr int64_t kPageBytes = 4096;  // SQLite's default

// Connections that read; a caller takes one for the length of its snapshot.
class Readers {
 public:
  explicit Readers(std::vector<std::unique_ptr<Database>> databases) : idle_(std::move(databases)) {}

  std::unique_ptr<Database> Take() {
    absl::MutexLock lock(&mutex_);
    const auto has_one = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !idle_.empty(); };
    mutex_.Await(absl::Condition(&has_one));
    std::unique_ptr<Database> database = std::move(idle_.back());
    idle_.pop_back();
    return database;
  }

  void Give(std::unique_ptr<Database> database) {
    absl::MutexLock lock(&mutex_);
    idle_.push_back(std::move(database));
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Database>> idle_ ABSL_GUARDED_BY(mutex_);
};

class SqliteStore final : public Store {
 public:
  SqliteStore(FolderLock lock, std::unique_ptr<Database> writer, std::vector<std::unique_ptr<Database>> readers,
              const SqliteOptions& options)
      : lock_(std::move(lock)),
        readers_(std::move(readers)),
        writer_(std::move(writer), {options.clock, options.max_queued_writes, options.max_group}) {}

  absl::Status Write(WriteBody body) override { return writer_.Write(std::move(body)); }

  void WriteAsync(WriteBody body, std::function<void(absl::Status)> done) override {
    writer_.WriteAsync(std::move(body), std::move(done));
  }

  absl::Status Read(const ReadBody& body) override {
    // Gives the connection back on every way out.
    struct Scope {
      explicit Scope(Readers& readers) : readers(readers), database(readers.Take()) {}
      ~Scope() {
        if (database->InTransaction()) (void)database->Exec("ROLLBACK");
        readers.Give(std::move(database));
      }
      Readers& readers;
      std::unique_ptr<Database> database;
    } scope(readers_);
    (void)scope.database->TakeFault();  // of a read before this one
    RETURN_IF_ERROR(Query(*scope.database, "BEGIN").Run());
    SqliteReads<Snapshot> snapshot(*scope.database);
    return body(snapshot);
  }

  bool writable() const override { return writer_.writable(); }

 private:
  const FolderLock lock_;
  Readers readers_;
  Writer writer_;  // last: destroyed, and its thread joined, first
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const SqliteOptions& options) {
  ASSIGN_OR_RETURN(FolderLock lock, FolderLock::Take(options.folder));
  const std::filesystem::path file = options.folder / "tenon.sqlite";
  ASSIGN_OR_RETURN(std::unique_ptr<Database> writer, Database::Open(file, Database::Mode::kReadWrite));
  RETURN_IF_ERROR(Migrate(*writer, options.clock->Now()));
  if (options.max_bytes > 0) {
    const int64_t pages = std::max<int64_t>(1, options.max_bytes / kPageBytes);
    RETURN_IF_ERROR(writer->Exec("PRAGMA max_page_count=" + std::to_string(pages)));
  }
  std::vector<std::unique_ptr<Database>> readers;
  for (int i = 0; i < options.read_connections; ++i) {
    ASSIGN_OR_RETURN(std::unique_ptr<Database> reader, Database::Open(file, Database::Mode::kQueryOnly));
    readers.push_back(std::move(reader));
  }
  return std::make_unique<SqliteStore>(std::move(lock), std::move(writer), std::move(readers), options);
}

}  // namespace tenon::server
