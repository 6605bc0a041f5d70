// Tables of the SQLite store and how an older file becomes a newer one.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/store/sqlite/database.h"

namespace tenon::server {

// Version that this program writes.
int SchemaVersion();

// Brings the schema to SchemaVersion(), each step in a transaction of its own. STORAGE_FAULT when the file is of a
// newer program.
absl::Status Migrate(Database& database, absl::Time now);

}  // namespace tenon::server
