#include "server/app/job_watchers.h"

#include <algorithm>
#include <utility>

namespace tenon::server {

uint64_t JobWatchers::Add(const JobKey& key, std::function<void()> changed) {
  absl::MutexLock lock(&mutex_);
  watchers_[++last_] = {key, std::move(changed)};
  return last_;
}

void JobWatchers::Remove(uint64_t watch) {
  absl::MutexLock lock(&mutex_);
  const auto found = watchers_.find(watch);
  if (found == watchers_.end()) return;
  const JobKey key = found->second.key;
  watchers_.erase(found);
  if (!IsWatched(key)) told_.erase(key);
}

bool JobWatchers::IsWatched(const JobKey& key) const {
  return std::any_of(watchers_.begin(), watchers_.end(), [&](const auto& entry) { return entry.second.key == key; });
}

void JobWatchers::NotifyLocked(const JobKey& key) {
  for (const auto& [id, watcher] : watchers_) {
    if (watcher.key == key) watcher.changed();
  }
}

void JobWatchers::Notify(const JobKey& key) {
  absl::MutexLock lock(&mutex_);
  NotifyLocked(key);
}

void JobWatchers::NotifyAll() {
  absl::MutexLock lock(&mutex_);
  for (const auto& [id, watcher] : watchers_) watcher.changed();
}

JobWatchers::Pace JobWatchers::NotifyProgress(const JobKey& key, absl::Time now, absl::Duration interval) {
  absl::MutexLock lock(&mutex_);
  if (!IsWatched(key)) return Pace::kTold;
  const auto [told, first] = told_.try_emplace(key);
  if (told->second.planned) return Pace::kPlanned;
  if (!first && now - told->second.time < interval) {
    told->second.planned = true;
    return Pace::kLater;
  }
  told->second.time = now;
  NotifyLocked(key);
  return Pace::kTold;
}

void JobWatchers::NotifyLater(const JobKey& key, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  const auto told = told_.find(key);
  if (told == told_.end()) return;  // nobody watches any more
  told->second = {now, false};
  NotifyLocked(key);
}

}  // namespace tenon::server
