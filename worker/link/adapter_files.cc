#include "worker/link/adapter_files.h"

#include "common/formats/status.h"

namespace tenon::link {

void AdapterFiles::Remember(const internal::v1::AdapterRef& adapter) {
  absl::MutexLock lock(&mutex_);
  if (const auto found = by_digest_.find(adapter.digest()); found != by_digest_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
    return;
  }
  recent_.push_front(adapter);
  by_digest_[adapter.digest()] = recent_.begin();
  if (recent_.size() <= remembered_) return;
  by_digest_.erase(recent_.back().digest());
  recent_.pop_back();
}

absl::StatusOr<std::filesystem::path> AdapterFiles::Fetch(const std::string& digest) {
  internal::v1::AdapterRef adapter;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = by_digest_.find(digest);
    if (found == by_digest_.end()) {
      return TenonError(Reason::kInternal, "nobody said which files the adapter has");
    }
    adapter = *found->second;
  }
  return cache_->AdapterFolder(digest, adapter.files());
}

}  // namespace tenon::link
