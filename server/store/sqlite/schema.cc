#include "server/store/sqlite/schema.h"

#include <iterator>
#include <string>

#include "common/formats/status.h"

namespace tenon::server {
namespace {

// One entry a version, never changed once released. Every key starts with the tenant.
constexpr const char* kMigrations[] = {
    // 1
    R"sql(
CREATE TABLE migrations (version INTEGER PRIMARY KEY, apply_us INTEGER NOT NULL);

CREATE TABLE records (
  tenant TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
  parent TEXT NOT NULL, state TEXT NOT NULL, term INTEGER NOT NULL,
  create_us INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (tenant, kind, id));
CREATE INDEX records_by_time ON records (tenant, kind, create_us, id);
CREATE INDEX records_by_parent ON records (tenant, kind, parent, create_us, id);
CREATE INDEX records_by_state ON records (kind, state, create_us, id);

CREATE TABLE events (
  tenant TEXT NOT NULL, stream TEXT NOT NULL, sequence INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (tenant, stream, sequence)) WITHOUT ROWID;

CREATE TABLE requests (
  tenant TEXT NOT NULL, method TEXT NOT NULL, request_id TEXT NOT NULL,
  body_digest TEXT NOT NULL, resource TEXT NOT NULL, create_us INTEGER NOT NULL,
  PRIMARY KEY (tenant, method, request_id)) WITHOUT ROWID;

CREATE TABLE documents (
  tenant TEXT NOT NULL, collection TEXT NOT NULL, id TEXT NOT NULL,
  number INTEGER NOT NULL, vector BLOB NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (tenant, collection, id));
CREATE UNIQUE INDEX documents_by_number ON documents (tenant, collection, number);

-- Outlives the documents, so that a number is never used again.
CREATE TABLE document_numbers (
  tenant TEXT NOT NULL, collection TEXT NOT NULL, next INTEGER NOT NULL,
  PRIMARY KEY (tenant, collection)) WITHOUT ROWID;
)sql",
};

}  // namespace

int SchemaVersion() { return static_cast<int>(std::size(kMigrations)); }

absl::Status Migrate(Database& database, absl::Time now) {
  int64_t version = 0;
  {
    Query query(database, "PRAGMA user_version");
    ASSIGN_OR_RETURN(const bool row, query.Step());
    if (row) version = query.Number(0);
  }
  if (version > SchemaVersion()) {
    return TenonError(Reason::kStorageFault, "the store has schema version " + std::to_string(version) +
                                                 ", this program knows up to " + std::to_string(SchemaVersion()) +
                                                 ": use a newer tenon-server");
  }
  for (int64_t next = version + 1; next <= SchemaVersion(); ++next) {
    RETURN_IF_ERROR(database.Exec("BEGIN IMMEDIATE"));
    absl::Status status = database.Exec(kMigrations[next - 1]);
    if (status.ok()) {
      status = Query(database, "INSERT INTO migrations (version, apply_us) VALUES (?, ?)")
                   .Int(next)
                   .Int(absl::ToUnixMicros(now))
                   .Run();
    }
    // A pragma takes no parameters; user_version is part of the transaction.
    if (status.ok()) status = database.Exec("PRAGMA user_version=" + std::to_string(next));
    if (status.ok()) status = database.Exec("COMMIT");
    if (!status.ok()) {
      if (database.InTransaction()) (void)database.Exec("ROLLBACK");
      return Annotate(status, "migration " + std::to_string(next) + ": ");
    }
  }
  return absl::OkStatus();
}

}  // namespace tenon::server
