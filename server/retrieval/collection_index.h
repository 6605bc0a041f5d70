// One collection in memory: its vectors, and of each document the id (ties are broken by it) and metadata (filters).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/retrieval/metadata.h"
#include "server/retrieval/vector_index.h"

namespace tenon::server {

struct IndexDocument {
  int64_t number = 0;  // of the store
  std::string id;
  Metadata metadata;
  std::vector<float> vector;  // [dimensions], as stored
};

// What one commit did. A document whose id is there already replaces it.
struct IndexChange {
  std::vector<IndexDocument> put;
  std::vector<int64_t> removed;  // numbers
};

struct IndexHit {
  int64_t number = 0;
  std::string id;
  double score = 0;
};

// Thread-safe: searches run beside each other, and see a change whole or not at all. Removed and replaced documents
// leave tombstones until a compacted copy takes its place.
class CollectionIndex {
 public:
  explicit CollectionIndex(const IndexSpec& spec);
  // `exact_below`: with a filter, up to so many matching documents are compared one by one even with HNSW. A graph is
  // walked by nearness, and what matches may all lie elsewhere.
  CollectionIndex(const IndexSpec& spec, int64_t exact_below);

  // INTERNAL when a vector has another length; the index is of no use after an error.
  absl::Status Apply(IndexChange change);
  // The `k` nearest among documents that match `filter`, for each query [dimensions]: best first, equal scores by
  // document id. With HNSW approximate, but never fewer than there are.
  absl::StatusOr<std::vector<std::vector<IndexHit>>> Search(const std::vector<std::vector<float>>& queries, int k,
                                                            const Metadata& filter) const;

  // Whether more than a third of the slots, and more than a thousand, are tombstones.
  bool WantsCompaction() const;
  // A copy without tombstones.
  absl::StatusOr<std::shared_ptr<CollectionIndex>> Compacted() const;

  const IndexSpec& spec() const { return spec_; }
  int64_t size() const;   // documents
  int64_t bytes() const;  // of memory, about

 private:
  struct Row {
    int64_t number = -1;  // -1: a tombstone
    std::string id;
    Metadata metadata;
  };

  absl::Status AddVectors(const std::vector<IndexDocument>& documents) ABSL_EXCLUSIVE_LOCKS_REQUIRED(apply_mutex_);
  void AddRows(std::vector<IndexDocument> documents) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Bury(int64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::vector<IndexHit>> SearchOne(std::vector<float> query, int k, const SlotSet* allowed,
                                                  int64_t allowed_count, bool filtered) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const IndexSpec spec_;
  const int64_t exact_below_;
  absl::Mutex apply_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);  // one change at a time
  mutable absl::Mutex mutex_;
  // Vectors come first, a few at a time, and are not found before their rows are there.
  std::unique_ptr<VectorIndex> vectors_ ABSL_GUARDED_BY(mutex_);
  std::vector<Row> rows_ ABSL_GUARDED_BY(mutex_);  // by slot
  std::unordered_map<int64_t, int64_t> slot_of_number_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, int64_t> number_of_id_ ABSL_GUARDED_BY(mutex_);
  int64_t row_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tenon::server
