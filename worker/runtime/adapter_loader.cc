#include "worker/runtime/adapter_loader.h"

#include <optional>
#include <utility>

#include "common/formats/status.h"

namespace tenon::runtime {

AdapterLoader::AdapterLoader(const Residency::Options& options, AdapterSource* source, const Clock* clock,
                             RuntimeObserver observer, Changed changed)
    : source_(source),
      clock_(*clock),
      observer_(std::move(observer)),
      changed_(std::move(changed)),
      residency_(options) {}

void AdapterLoader::Stop() {
  readers_.Stop();
  placer_.Stop();
}

void AdapterLoader::AddBase(const std::string& digest, const std::shared_ptr<const engine::Base>& base) {
  absl::MutexLock lock(&mutex_);
  bases_[digest] = base;
}

absl::StatusOr<std::shared_ptr<const engine::Base>> AdapterLoader::BaseOf(const AdapterKey& key) const {
  absl::MutexLock lock(&mutex_);
  const auto found = bases_.find(key.base);
  std::shared_ptr<const engine::Base> base = found == bases_.end() ? nullptr : found->second.lock();
  if (base == nullptr) return TenonError(Reason::kNoWorker, "the base is not loaded", "base");
  return base;
}

AdapterId AdapterLoader::Want(const AdapterKey& key, bool host_only) {
  Tier tier;
  AdapterId id;
  {
    absl::MutexLock lock(&mutex_);
    id = residency_.Want(key, host_only, &tier);
  }
  if (observer_.adapter_get) observer_.adapter_get(TierName(tier));
  if (tier != Tier::kDevice) Pump();
  return id;
}

void AdapterLoader::Unwant(AdapterId id, bool host_only) {
  absl::MutexLock lock(&mutex_);
  residency_.Unwant(id, host_only);
}

Residency::Host AdapterLoader::HostHandle(AdapterId id) const {
  absl::MutexLock lock(&mutex_);
  return residency_.HostHandle(id);
}

Residency::Device AdapterLoader::DeviceHandle(AdapterId id) const {
  absl::MutexLock lock(&mutex_);
  return residency_.DeviceHandle(id);
}

bool AdapterLoader::OnDevice(AdapterId id) const {
  absl::MutexLock lock(&mutex_);
  return residency_.OnDevice(id);
}

void AdapterLoader::Touch(AdapterId id) {
  absl::MutexLock lock(&mutex_);
  residency_.Touch(id);
}

bool AdapterLoader::MustYield(AdapterId id, absl::Time now) const {
  absl::MutexLock lock(&mutex_);
  return residency_.MustYield(id, now);
}

void AdapterLoader::Pump() {
  while (true) {
    std::optional<Residency::Load> load;
    Residency::Evicted evicted;
    {
      absl::MutexLock lock(&mutex_);
      load = residency_.NextLoad(clock_.Now());
      evicted = residency_.TakeEvicted();
    }
    if (observer_.adapter_eviction) {
      for (const Tier tier : evicted.tiers) observer_.adapter_eviction(TierName(tier));
    }
    // What left frees its memory before what takes its place is placed.
    evicted.handles.clear();
    if (!load.has_value()) return;
    if (load->from == Tier::kDisk) {
      readers_.Post([this, load = *std::move(load)] { LoadHost(load); });
    } else {
      placer_.Post([this, load = *std::move(load)] { Place(load); });
    }
  }
}

void AdapterLoader::LoadHost(const Residency::Load& load) {
  const absl::Time start = clock_.Now();
  const auto read = [&]() -> absl::StatusOr<Residency::Host> {
    ASSIGN_OR_RETURN(const auto base, BaseOf(load.key));
    ASSIGN_OR_RETURN(const std::filesystem::path folder, source_->Fetch(load.key.adapter));
    return engine::HostAdapter::Load(folder, *base);
  };
  absl::StatusOr<Residency::Host> host = read();
  const absl::Status status = host.status();
  Report("disk", clock_.Now() - start, status);
  {
    absl::MutexLock lock(&mutex_);
    residency_.OnHost(load.id, std::move(host));
  }
  Pump();
  changed_(load.id, status);
}

void AdapterLoader::Place(const Residency::Load& load) {
  const absl::Time start = clock_.Now();
  const auto place = [&]() -> absl::StatusOr<Residency::Device> {
    ASSIGN_OR_RETURN(const auto base, BaseOf(load.key));
    return engine::DeviceAdapter::Place(load.host, *base);
  };
  absl::StatusOr<Residency::Device> device = place();
  const absl::Status status = device.status();
  Report("memory", clock_.Now() - start, status);
  {
    absl::MutexLock lock(&mutex_);
    residency_.OnDevice(load.id, std::move(device), clock_.Now());
  }
  changed_(load.id, status);
}

void AdapterLoader::Report(const char* from, absl::Duration took, const absl::Status& status) const {
  if (observer_.adapter_load) observer_.adapter_load(from, took, status.ok());
}

absl::Time AdapterLoader::NextRotation(absl::Time now) const {
  absl::MutexLock lock(&mutex_);
  return residency_.NextRotation(now);
}

Residency::Counts AdapterLoader::counts() const {
  absl::MutexLock lock(&mutex_);
  return residency_.counts();
}

}  // namespace tenon::runtime
