// Writes of the SQLite store.
#pragma once

#include <string>
#include <vector>

#include "server/store/sqlite/sqlite_snapshot.h"

namespace tenon::server {

// Lives inside a savepoint of the writer's transaction (sqlite_store.cc).
class SqliteTransaction final : public SqliteReads<Transaction> {
 public:
  SqliteTransaction(Database& database, absl::Time now) : SqliteReads<Transaction>(database), now_(now) {}

  absl::Status Insert(const Record& record) override;
  absl::Status Update(const Record& record, std::optional<int64_t> expected_term) override;
  absl::Status Delete(const std::string& tenant, const std::string& kind, const std::string& id) override;
  absl::StatusOr<int64_t> AppendEvent(const std::string& tenant, const std::string& stream,
                                      const std::string& body) override;
  absl::StatusOr<std::optional<std::string>> ClaimRequest(const std::string& tenant, const std::string& method,
                                                          const std::string& request_id, const std::string& body_digest,
                                                          const std::string& resource) override;
  absl::StatusOr<std::vector<int64_t>> PutDocuments(const std::string& tenant, const std::string& collection,
                                                    const std::vector<DocumentRecord>& documents) override;
  absl::StatusOr<std::vector<int64_t>> DeleteDocuments(const std::string& tenant, const std::string& collection,
                                                       const std::vector<std::string>& ids) override;
  absl::Status DeleteAllDocuments(const std::string& tenant, const std::string& collection) override;

 private:
  // Takes `count` numbers that were never used in the collection; returns the first.
  absl::StatusOr<int64_t> TakeNumbers(const std::string& tenant, const std::string& collection, int64_t count);

  const absl::Time now_;
};

}  // namespace tenon::server
