#include "server/retrieval/index_cache.h"

#include "common/formats/status.h"

namespace tenon::server {
namespace {

constexpr int kMaxWaiting = 4;
// Documents handed to an index at once while it is built.
constexpr size_t kBuildBatch = 1024;

}  // namespace

std::shared_ptr<IndexCache::Entry> IndexCache::EntryOf(const Key& key) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<Entry>& entry = entries_[key];
  if (entry == nullptr) entry = std::make_shared<Entry>();
  return entry;
}

std::shared_ptr<CollectionIndex> IndexCache::Touch(Entry& entry) {
  entry.last_use = ++uses_;
  return entry.index;
}

absl::StatusOr<std::shared_ptr<const CollectionIndex>> IndexCache::Get(const Key& key, const IndexSpec& spec) {
  const std::shared_ptr<Entry> entry = EntryOf(key);
  {
    absl::MutexLock lock(&mutex_);
    if (auto index = Touch(*entry)) return index;
    if (entry->waiting >= kMaxWaiting) {
      return TenonError(Reason::kQueueFull, "the collection's index is being built; try again");
    }
    ++entry->waiting;
  }
  absl::MutexLock build(&entry->write_mutex);
  {
    absl::MutexLock lock(&mutex_);
    --entry->waiting;
    if (auto index = Touch(*entry)) return index;
  }
  auto index = std::make_shared<CollectionIndex>(spec);
  IndexChange batch;
  absl::Status applied;
  RETURN_IF_ERROR(loader_(key, [&](IndexDocument document) {
    batch.put.push_back(std::move(document));
    if (batch.put.size() < kBuildBatch) return;
    if (applied.ok()) applied = index->Apply(std::move(batch));
    batch = IndexChange();
  }));
  RETURN_IF_ERROR(applied);
  RETURN_IF_ERROR(index->Apply(std::move(batch)));
  Keep(*entry, index);
  return index;
}

absl::Status IndexCache::Change(const Key& key, const std::function<absl::StatusOr<IndexChange>()>& commit) {
  const std::shared_ptr<Entry> entry = EntryOf(key);
  absl::MutexLock change_lock(&entry->write_mutex);
  ASSIGN_OR_RETURN(IndexChange change, commit());
  std::shared_ptr<CollectionIndex> index;
  {
    absl::MutexLock lock(&mutex_);
    index = entry->index;
  }
  if (index == nullptr) return absl::OkStatus();
  // The commit is done and counts; an index that cannot follow is dropped and built again when it is needed.
  const bool applied = index->Apply(std::move(change)).ok();
  if (applied && index->WantsCompaction()) {
    absl::StatusOr<std::shared_ptr<CollectionIndex>> compacted = index->Compacted();
    index = compacted.ok() ? *std::move(compacted) : nullptr;
  } else if (!applied) {
    index = nullptr;
  }
  Keep(*entry, std::move(index));
  return absl::OkStatus();
}

void IndexCache::Drop(const Key& key) {
  absl::MutexLock lock(&mutex_);
  entries_.erase(key);
}

void IndexCache::Keep(Entry& entry, std::shared_ptr<CollectionIndex> index) {
  const int64_t bytes = index == nullptr ? 0 : index->bytes();
  absl::MutexLock lock(&mutex_);
  entry.index = std::move(index);
  entry.bytes = bytes;
  entry.last_use = ++uses_;
  int64_t total = 0;
  for (const auto& [key, other] : entries_) total += other->bytes;
  while (total > max_bytes_) {
    Entry* oldest = nullptr;
    for (const auto& [key, other] : entries_) {
      if (other->index == nullptr || other.get() == &entry) continue;
      if (oldest == nullptr || other->last_use < oldest->last_use) oldest = other.get();
    }
    if (oldest == nullptr) break;
    total -= oldest->bytes;
    oldest->index = nullptr;
    oldest->bytes = 0;
  }
}

int64_t IndexCache::bytes() const {
  absl::MutexLock lock(&mutex_);
  int64_t total = 0;
  for (const auto& [key, entry] : entries_) total += entry->bytes;
  return total;
}

int64_t IndexCache::count() const {
  absl::MutexLock lock(&mutex_);
  int64_t count = 0;
  for (const auto& [key, entry] : entries_) count += entry->index != nullptr;
  return count;
}

}  // namespace tenon::server
