#include "server/store/sqlite/database.h"

#include <cerrno>

#include "common/formats/status.h"

namespace tenon::server {
namespace {

// How long a statement waits for a lock that another connection of this process holds.
constexpr int kBusyTimeoutMs = 10'000;

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::filesystem::path& file, Mode mode) {
  sqlite3* handle = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(file.c_str(), &handle, flags, nullptr);
  if (handle == nullptr) return TenonError(Reason::kStorageFault, "cannot open the store: out of memory");
  std::unique_ptr<Database> database(new Database(handle));
  if (code != SQLITE_OK) return Annotate(database->Error(code), "cannot open the store " + file.string() + ": ");
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  // The order matters: the first statement that reads finds out whether this is a database at all.
  RETURN_IF_ERROR(database->Exec("PRAGMA mmap_size=0"));
  RETURN_IF_ERROR(database->Exec("PRAGMA journal_mode=WAL"));
  RETURN_IF_ERROR(database->Exec("PRAGMA synchronous=FULL"));
  RETURN_IF_ERROR(database->Exec("PRAGMA foreign_keys=ON"));
  if (mode == Mode::kQueryOnly) RETURN_IF_ERROR(database->Exec("PRAGMA query_only=ON"));
  return database;
}

Database::~Database() {
  for (auto& [sql, statements] : idle_) {
    for (sqlite3_stmt* statement : statements) sqlite3_finalize(statement);
  }
  sqlite3_close_v2(handle_);
}

absl::Status Database::Exec(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code);
}

absl::Status Database::Error(int code) const {
  if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC) sync_failed_ = true;
  absl::Status status = Describe(code);
  if (fault_.ok()) fault_ = status;
  return status;
}

absl::Status Database::Describe(int code) const {
  const std::string message = sqlite3_errmsg(handle_);
  const bool no_space = (code & 0xff) == SQLITE_IOERR && sqlite3_system_errno(handle_) == ENOSPC;
  if ((code & 0xff) == SQLITE_FULL || no_space) {
    return TenonError(Reason::kDiskFull, "the server's disk is full; nothing was stored");
  }
  switch (code & 0xff) {
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
    case SQLITE_PERM:
      return TenonError(Reason::kStorageFault, "the store failed: " + message);
    default:
      return TenonError(Reason::kInternal, "sqlite: " + message);
  }
}

absl::StatusOr<sqlite3_stmt*> Database::Take(const std::string& sql) {
  auto& idle = idle_[sql];
  if (!idle.empty()) {
    sqlite3_stmt* statement = idle.back();
    idle.pop_back();
    return statement;
  }
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                      &statement, nullptr);
  if (code != SQLITE_OK) return Error(code);
  return statement;
}

void Database::Give(const std::string& sql, sqlite3_stmt* statement) {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  idle_[sql].push_back(statement);
}

Query::Query(Database& database, const std::string& sql) : database_(database), sql_(sql) {
  auto statement = database_.Take(sql_);
  if (statement.ok()) {
    statement_ = *statement;
  } else {
    status_ = statement.status();
  }
}

Query::~Query() {
  if (statement_ != nullptr) database_.Give(sql_, statement_);
}

void Query::Check(int code) {
  if (code != SQLITE_OK && status_.ok()) status_ = database_.Error(code);
}

Query& Query::Text(const std::string& value) {
  ++bound_;
  if (statement_ != nullptr) {
    Check(sqlite3_bind_text64(statement_, bound_, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  }
  return *this;
}

Query& Query::Blob(const void* data, size_t size) {
  ++bound_;
  if (statement_ == nullptr) return *this;
  // A null pointer would bind NULL instead of an empty value.
  const void* bytes = size == 0 ? "" : data;
  Check(sqlite3_bind_blob64(statement_, bound_, bytes, size, SQLITE_TRANSIENT));
  return *this;
}

Query& Query::Int(int64_t value) {
  ++bound_;
  if (statement_ != nullptr) Check(sqlite3_bind_int64(statement_, bound_, value));
  return *this;
}

absl::StatusOr<bool> Query::Step() {
  if (!status_.ok()) return status_;
  if (!database_.fault_.ok()) return database_.fault_;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  status_ = database_.Error(code);
  return status_;
}

absl::Status Query::Run() {
  while (true) {
    ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) return absl::OkStatus();
  }
}

std::string Query::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), static_cast<size_t>(size));
}

}  // namespace tenon::server
