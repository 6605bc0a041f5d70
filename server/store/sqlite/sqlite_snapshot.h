// Reads of the SQLite store, shared by snapshots and transactions.
#pragma once

#include <string>
#include <vector>

#include "server/store/sqlite/database.h"
#include "server/store/store.h"

namespace tenon::server {

// `Base` is Snapshot or Transaction. The connection must be inside a transaction, which is what makes the reads one
// snapshot.
template <typename Base>
class SqliteReads : public Base {
 public:
  explicit SqliteReads(Database& database) : database_(database) {}

  absl::StatusOr<Record> Get(const std::string& tenant, const std::string& kind, const std::string& id) override;
  absl::StatusOr<ListPage> List(const ListQuery& query) override;
  absl::StatusOr<int64_t> Count(const std::string& tenant, const std::string& kind,
                                const std::optional<std::string>& parent) override;
  absl::StatusOr<std::vector<EventRecord>> Events(const std::string& tenant, const std::string& stream, int64_t after,
                                                  int limit) override;
  absl::StatusOr<DocumentRecord> GetDocument(const std::string& tenant, const std::string& collection,
                                             int64_t number) override;
  absl::StatusOr<std::vector<int64_t>> DocumentNumbers(const std::string& tenant, const std::string& collection,
                                                       const std::vector<std::string>& ids) override;
  absl::StatusOr<int64_t> CountDocuments(const std::string& tenant, const std::string& collection) override;
  absl::Status ScanDocuments(const std::string& tenant, const std::string& collection, int64_t after,
                             const std::function<void(const DocumentRecord&)>& visit) override;

 protected:
  Database& database_;
};

extern template class SqliteReads<Snapshot>;
extern template class SqliteReads<Transaction>;

}  // namespace tenon::server
