// Metadata that must survive: resources, their histories, idempotency keys, documents. "Acknowledged" means durably
// committed here.
//
// One conformance suite (tests/server/store) runs against each implementation.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tenon::server {

// A resource of any kind. (tenant, kind, id) is the primary key.
struct Record {
  std::string tenant;
  std::string kind;  // `base`, `adapter`, `revision`, `dataset`, `collection`, `finetune_job`, `eval_job`, ...
  std::string id;
  std::string parent;  // id of the resource it belongs to; empty at the top
  std::string state;   // of jobs, for queries by state; else empty
  int64_t term = 0;    // fence of jobs: the current lease
  absl::Time create_time;
  std::string body;  // serialized message
};

// Newest first by (create_time, id). `after` is the last record of the page before.
struct ListQuery {
  std::string tenant;  // empty: every tenant (server's own sweeps alone)
  std::string kind;
  std::optional<std::string> parent;
  std::optional<std::string> state;
  std::optional<std::string> id;  // one id in every tenant
  int limit = 50;                 // at most 1000
  int64_t max_bytes = 2 << 20;  // of bodies: the page ends with the record that reaches it. gRPC's usual limit is 4 MiB
  std::string page_token;       // from ListPage; opaque, checked: PAGE_TOKEN_INVALID
};
struct ListPage {
  std::vector<Record> records;
  std::string next_page_token;  // empty on the last page
};

// A document of a collection. (tenant, collection, id) is the primary key; `number` is its place in vector indexes,
// never used again.
struct DocumentRecord {
  std::string id;
  int64_t number = 0;  // set by the store
  std::vector<float> vector;
  std::string body;
};

// One entry of a job's history; sequence is given by the store, from 1, without gaps.
struct EventRecord {
  int64_t sequence = 0;
  std::string body;
};

// Reads of one consistent snapshot. NOT_FOUND statuses carry no reason: callers name what they looked for.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  virtual absl::StatusOr<Record> Get(const std::string& tenant, const std::string& kind, const std::string& id) = 0;
  virtual absl::StatusOr<ListPage> List(const ListQuery& query) = 0;
  virtual absl::StatusOr<int64_t> Count(const std::string& tenant, const std::string& kind,
                                        const std::optional<std::string>& parent) = 0;

  // Events of (tenant, stream) behind `after`, oldest first, at most `limit`.
  virtual absl::StatusOr<std::vector<EventRecord>> Events(const std::string& tenant, const std::string& stream,
                                                          int64_t after, int limit) = 0;

  virtual absl::StatusOr<DocumentRecord> GetDocument(const std::string& tenant, const std::string& collection,
                                                     int64_t number) = 0;
  // Number of every id that is there; -1 for the others.
  virtual absl::StatusOr<std::vector<int64_t>> DocumentNumbers(const std::string& tenant, const std::string& collection,
                                                               const std::vector<std::string>& ids) = 0;
  virtual absl::StatusOr<int64_t> CountDocuments(const std::string& tenant, const std::string& collection) = 0;
  // Visits every document by ascending number, `after` excluded.
  virtual absl::Status ScanDocuments(const std::string& tenant, const std::string& collection, int64_t after,
                                     const std::function<void(const DocumentRecord&)>& visit) = 0;
};

// Reads and writes of one transaction. An error returned by the body rolls all of it back.
class Transaction : public Snapshot {
 public:
  // ALREADY_EXISTS when the key is taken.
  virtual absl::Status Insert(const Record& record) = 0;
  // Replaces state, term, parent and body. With `expected_term`, only while the stored term equals it: STALE_TERM
  // otherwise. NOT_FOUND when the key is not there.
  virtual absl::Status Update(const Record& record, std::optional<int64_t> expected_term) = 0;
  // NOT_FOUND when the key is not there.
  virtual absl::Status Delete(const std::string& tenant, const std::string& kind, const std::string& id) = 0;

  // Appends to a history and returns the entry's sequence.
  virtual absl::StatusOr<int64_t> AppendEvent(const std::string& tenant, const std::string& stream,
                                              const std::string& body) = 0;

  // Idempotent creates: the resource that (tenant, method, request_id) made, or nothing and the key is taken by
  // `resource` now. REQUEST_ID_REUSED when `body_digest` differs from the first call's.
  virtual absl::StatusOr<std::optional<std::string>> ClaimRequest(const std::string& tenant, const std::string& method,
                                                                  const std::string& request_id,
                                                                  const std::string& body_digest,
                                                                  const std::string& resource) = 0;

  // Inserts or replaces (a replaced one gets a new number). Returns the numbers in order.
  virtual absl::StatusOr<std::vector<int64_t>> PutDocuments(const std::string& tenant, const std::string& collection,
                                                            const std::vector<DocumentRecord>& documents) = 0;
  // Returns the numbers that were deleted.
  virtual absl::StatusOr<std::vector<int64_t>> DeleteDocuments(const std::string& tenant, const std::string& collection,
                                                               const std::vector<std::string>& ids) = 0;
  virtual absl::Status DeleteAllDocuments(const std::string& tenant, const std::string& collection) = 0;
};

// Thread-safe.
class Store {
 public:
  using WriteBody = std::function<absl::Status(Transaction&)>;
  using ReadBody = std::function<absl::Status(Snapshot&)>;
  virtual ~Store() = default;

  // Runs `body` on the writer thread, groups it with others into one commit, and returns when that is durable. An error
  // of `body` rolls back its own part alone. Blocks: never call it from an event loop or a gRPC thread. DISK_FULL,
  // STORAGE_FAULT.
  virtual absl::Status Write(WriteBody body) = 0;
  // The same without waiting: `done` is called on the writer thread after the commit.
  virtual void WriteAsync(WriteBody body, std::function<void(absl::Status)> done) = 0;
  // Runs `body` on a snapshot, on the caller's thread. Blocks for as long as disk takes.
  virtual absl::Status Read(const ReadBody& body) = 0;
  // False after a storage fault, until a write succeeds again.
  virtual bool writable() const = 0;
};

}  // namespace tenon::server
