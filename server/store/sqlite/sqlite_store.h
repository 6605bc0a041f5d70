// The Store on one SQLite file: `tenon.sqlite` in the data folder, in WAL mode, synced at every commit.
//
// One thread writes; it groups what waits into one commit, each body in a savepoint of its own. Reads run on the
// caller's thread, on one of a few further connections, and never wait for the writer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "server/store/store.h"

namespace tenon::server {

struct SqliteOptions {
  std::filesystem::path folder;
  const Clock* clock = &Clock::Real();
  int read_connections = 4;
  // Writes that may wait. Beyond, Write waits for a place and WriteAsync fails with QUEUE_FULL.
  int max_queued_writes = 1024;
  // Bytes the file may grow to, DISK_FULL beyond; 0: as far as the disk goes.
  int64_t max_bytes = 0;
  int max_group = 128;  // bodies in one commit
};

// IN_USE when another server holds the folder, DISK_FULL, STORAGE_FAULT. The lock on the folder is held until the store
// is destroyed.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const SqliteOptions& options);

}  // namespace tenon::server
