#include "worker/runtime/residency.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace tenon::runtime {

const char* TierName(Tier tier) {
  switch (tier) {
    case Tier::kDisk:
      return "disk";
    case Tier::kMemory:
      return "memory";
    case Tier::kDevice:
      return "device";
  }
  return "";
}

AdapterId Residency::Want(const AdapterKey& key, bool host_only, Tier* tier) {
  const auto [slot, is_new] = ids_.try_emplace(key, next_id_);
  if (is_new) entries_[next_id_++].key = key;
  const AdapterId id = slot->second;
  Entry& entry = entries_.at(id);
  ++(host_only ? entry.host_wants : entry.wants);
  entry.used = ++tick_;
  *tier = entry.device != nullptr ? Tier::kDevice : entry.host != nullptr ? Tier::kMemory : Tier::kDisk;
  Enqueue(id, entry);
  return id;
}

void Residency::Unwant(AdapterId id, bool host_only) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  --(host_only ? found->second.host_wants : found->second.wants);
  TrimHost();
  Forget(id);
}

// Queues the adapter when it is not where it is wanted and nobody is bringing it.
void Residency::Enqueue(AdapterId id, Entry& entry) {
  const bool missing = entry.wants > 0 ? entry.device == nullptr : entry.host_wants > 0 && entry.host == nullptr;
  if (!missing || entry.queued || entry.loading) return;
  entry.queued = true;
  queue_.push_back(id);
}

std::optional<Residency::Load> Residency::NextLoad(absl::Time now) {
  bool slots_may_be_free = true;  // asked once: the answer is the same for everybody behind
  for (auto place = queue_.begin(); place != queue_.end();) {
    const AdapterId id = *place;
    Entry& entry = entries_.at(id);
    const bool wants_device = entry.wants > 0 && entry.device == nullptr;
    const bool wants_host = (entry.wants > 0 || entry.host_wants > 0) && entry.host == nullptr;
    if (!wants_device && !wants_host) {
      place = queue_.erase(place);
      entry.queued = false;
      Forget(id);
      continue;
    }
    // What is on disk is brought to memory ahead of its slot.
    const bool to_host = entry.host == nullptr;
    if (!to_host) slots_may_be_free = slots_may_be_free && MakeSlot(now);
    if (to_host || slots_may_be_free) {
      queue_.erase(place);
      entry.queued = false;
      entry.loading = true;
      if (!to_host) ++slots_used_;
      return Load{id, entry.key, to_host ? Tier::kDisk : Tier::kMemory, entry.host};
    }
    ++place;
  }
  return std::nullopt;
}

void Residency::OnHost(AdapterId id, absl::StatusOr<Host> host) {
  Entry& entry = entries_.at(id);
  entry.loading = false;
  if (host.ok()) {
    entry.host = *std::move(host);
    entry.used = ++tick_;
    host_bytes_ += entry.host->bytes();
    if (entry.wants > 0 && !entry.queued) {  // keeps its turn: it waited on disk all the while
      entry.queued = true;
      queue_.push_front(id);
    }
    TrimHost();
  }
  Forget(id);
}

void Residency::OnDevice(AdapterId id, absl::StatusOr<Device> device, absl::Time now) {
  Entry& entry = entries_.at(id);
  entry.loading = false;
  if (device.ok()) {
    entry.device = *std::move(device);
    entry.since = now;
    entry.served = false;
    entry.used = ++tick_;
  } else {
    --slots_used_;
  }
  TrimHost();
  Forget(id);
}

bool Residency::InUse(const Entry& entry) const { return entry.device.use_count() > 1; }

// A free slot, if need be by evicting; false when none can be had now.
bool Residency::MakeSlot(absl::Time now) {
  if (slots_used_ < options_.device_slots) return true;
  Entry* victim = nullptr;
  const auto rank = [](const Entry& entry) { return std::make_pair(entry.wants > 0, entry.used); };
  for (auto& [id, entry] : entries_) {
    if (entry.device == nullptr || InUse(entry)) continue;
    if (entry.wants > 0 && !(entry.served && now - entry.since >= options_.quantum)) continue;
    if (victim == nullptr || rank(entry) < rank(*victim)) victim = &entry;
  }
  if (victim == nullptr) return false;
  evicted_.tiers.push_back(Tier::kDevice);
  evicted_.handles.push_back(std::move(victim->device));
  victim->device = nullptr;
  --slots_used_;
  Enqueue(ids_.at(victim->key), *victim);
  TrimHost();
  return true;
}

// Drops the least recently used from host memory until it fits. What is on the device, wanted or being placed stays.
void Residency::TrimHost() {
  while (host_bytes_ > options_.host_bytes) {
    Entry* victim = nullptr;
    for (auto& [id, entry] : entries_) {
      const bool busy = entry.device != nullptr || entry.loading || entry.wants > 0 || entry.host_wants > 0;
      if (entry.host == nullptr || busy) continue;
      if (victim == nullptr || entry.used < victim->used) victim = &entry;
    }
    if (victim == nullptr) return;
    host_bytes_ -= victim->host->bytes();
    evicted_.tiers.push_back(Tier::kMemory);
    evicted_.handles.push_back(std::move(victim->host));
    victim->host = nullptr;
    Forget(ids_.at(victim->key));
  }
}

// Removes an entry that stands for nothing any more.
void Residency::Forget(AdapterId id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  const Entry& entry = found->second;
  if (entry.host || entry.device || entry.loading || entry.queued || entry.wants > 0 || entry.host_wants > 0) return;
  ids_.erase(entry.key);
  entries_.erase(found);
}

Residency::Host Residency::HostHandle(AdapterId id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : found->second.host;
}

Residency::Device Residency::DeviceHandle(AdapterId id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : found->second.device;
}

bool Residency::OnDevice(AdapterId id) const {
  const auto found = entries_.find(id);
  return found != entries_.end() && found->second.device != nullptr;
}

void Residency::Touch(AdapterId id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  found->second.used = ++tick_;
  found->second.served = true;
}

bool Residency::MustYield(AdapterId id, absl::Time now) const {
  if (slots_used_ < options_.device_slots) return false;
  const auto waits = [this](AdapterId other) {
    const Entry& entry = entries_.at(other);
    return entry.wants > 0 && entry.device == nullptr && entry.host != nullptr;
  };
  if (!std::any_of(queue_.begin(), queue_.end(), waits)) return false;
  const Entry* longest = nullptr;
  for (const auto& [other, entry] : entries_) {
    if (entry.device == nullptr || !entry.served || now - entry.since < options_.quantum) continue;
    if (longest == nullptr || std::tie(entry.since, entry.used) < std::tie(longest->since, longest->used)) {
      longest = &entry;
    }
  }
  const auto found = entries_.find(id);
  return found != entries_.end() && &found->second == longest;
}

absl::Time Residency::NextRotation(absl::Time now) const {
  absl::Time next = absl::InfiniteFuture();
  if (queue_.empty()) return next;
  for (const auto& [id, entry] : entries_) {
    if (entry.device == nullptr || !entry.served) continue;
    const absl::Time end = entry.since + options_.quantum;
    if (end > now) next = std::min(next, end);
  }
  return next;
}

Residency::Counts Residency::counts() const {
  Counts counts;
  counts.host_bytes = host_bytes_;
  for (const auto& [id, entry] : entries_) {
    counts.in_memory += entry.host != nullptr;
    if (entry.device == nullptr) continue;
    ++counts.on_device;
    counts.device_bytes += entry.device->bytes();
  }
  return counts;
}

}  // namespace tenon::runtime
