// A small RAII layer over sqlite3: one connection, cached prepared statements, errors as absl::Status.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace tenon::server {

// One connection. Not thread-safe: one thread at a time.
class Database {
 public:
  enum class Mode { kReadWrite, kQueryOnly };
  // WAL, synchronous=FULL, no mmap. STORAGE_FAULT, DISK_FULL.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::filesystem::path& file, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Runs statements that return nothing and are not cached.
  absl::Status Exec(const std::string& sql);
  // Whether a transaction is open: SQLite itself ends one after some faults.
  bool InTransaction() const { return sqlite3_get_autocommit(handle_) == 0; }
  // Rows the last statement changed.
  int Changes() const { return sqlite3_changes(handle_); }
  // DISK_FULL, STORAGE_FAULT, or INTERNAL for a mistake of ours, from sqlite3's result code and its last message.
  absl::Status Error(int code) const;
  // A sync failed on this connection: what the system has written since is unknown, so it must never be tried again.
  bool sync_failed() const { return sync_failed_; }
  // The first fault since the last call; OK without one. Until it is taken every Query fails with it: after some faults
  // SQLite has ended the transaction, and a statement that came next would be committed by itself.
  absl::Status TakeFault() const { return std::exchange(fault_, absl::OkStatus()); }

 private:
  friend class Query;
  explicit Database(sqlite3* handle) : handle_(handle) {}
  absl::Status Describe(int code) const;
  absl::StatusOr<sqlite3_stmt*> Take(const std::string& sql);
  void Give(const std::string& sql, sqlite3_stmt* statement);

  sqlite3* handle_;
  std::map<std::string, std::vector<sqlite3_stmt*>> idle_;  // by SQL text
  mutable bool sync_failed_ = false;
  mutable absl::Status fault_;
};

// One use of a prepared statement. Parameters are bound in order; the statement goes back to the cache at the end of
// scope.
class Query {
 public:
  Query(Database& database, const std::string& sql);
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& Text(const std::string& value);
  Query& Blob(const void* data, size_t size);
  Query& Blob(const std::string& value) { return Blob(value.data(), value.size()); }
  Query& Int(int64_t value);

  // True with a row, false at the end.
  absl::StatusOr<bool> Step();
  // Steps to the end.
  absl::Status Run();

  // Columns of the current row, from 0.
  std::string Bytes(int column) const;
  int64_t Number(int column) const { return sqlite3_column_int64(statement_, column); }

 private:
  void Check(int code);

  Database& database_;
  const std::string sql_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
  absl::Status status_;
};

}  // namespace tenon::server
