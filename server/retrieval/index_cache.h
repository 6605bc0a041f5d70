// Indexes of collections: built from the store's vectors when first searched, kept up to date, dropped least recently
// used first.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/retrieval/collection_index.h"

namespace tenon::server {

// Thread-safe. A collection is named by its tenant and a key that is never used for another collection.
class IndexCache {
 public:
  using Key = std::pair<std::string, std::string>;
  // Reads all documents of a collection from the store and gives them to `add`. Blocks.
  using Loader = std::function<absl::Status(const Key& key, const std::function<void(IndexDocument)>& add)>;

  // `max_bytes`: the one searched last stays even when it alone is larger.
  IndexCache(Loader loader, int64_t max_bytes) : loader_(std::move(loader)), max_bytes_(max_bytes) {}

  // The collection's index, built now if need be. Blocks. QUEUE_FULL when too many callers wait for the same build.
  absl::StatusOr<std::shared_ptr<const CollectionIndex>> Get(const Key& key, const IndexSpec& spec);
  // Runs `commit`, which writes to the store and says what it changed, and then changes the index. Builds and other
  // changes of this collection wait meanwhile, so that none misses or repeats it; searches do not wait.
  absl::Status Change(const Key& key, const std::function<absl::StatusOr<IndexChange>()>& commit);
  // Forgets a collection that was deleted.
  void Drop(const Key& key);

  int64_t bytes() const;
  int64_t count() const;  // indexes in memory

 private:
  struct Entry {
    absl::Mutex write_mutex;                 // held over a build or a commit; taken before mutex_
    std::shared_ptr<CollectionIndex> index;  // guarded by mutex_; null: not in memory
    int waiting = 0;                         // guarded by mutex_
    int64_t bytes = 0;                       // guarded by mutex_
    uint64_t last_use = 0;                   // guarded by mutex_
  };

  std::shared_ptr<Entry> EntryOf(const Key& key) ABSL_LOCKS_EXCLUDED(mutex_);
  std::shared_ptr<CollectionIndex> Touch(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Keep(Entry& entry, std::shared_ptr<CollectionIndex> index) ABSL_LOCKS_EXCLUDED(mutex_);

  const Loader loader_;
  const int64_t max_bytes_;
  mutable absl::Mutex mutex_;
  std::map<Key, std::shared_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);
  uint64_t uses_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tenon::server
