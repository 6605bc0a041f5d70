#include "server/fleet/fleet.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::server {

absl::StatusOr<bool> Fleet::Connect(const WorkerIdentity& identity, const std::vector<std::string>& bases,
                                    uint64_t link, const std::vector<std::string>& unloading) {
  const auto known = workers_.find(identity.session);
  for (auto& [session, other] : workers_) {
    if (session == identity.session || other.identity.id != identity.id) continue;
    if (other.connected) {
      return TenonError(Reason::kAlreadyExists,
                        absl::StrCat("a worker named '", identity.id, "' is connected; give this one another name"),
                        "worker_id");
    }
    other.renewed = absl::InfinitePast();  // its process was replaced by this one and will not come back
  }
  const bool came_back = known != workers_.end();
  Worker& worker = workers_[identity.session];
  if (!came_back) worker.connect_time = clock_.Now();
  worker.identity = identity;
  worker.link = link;
  worker.connected = true;
  worker.renewed = clock_.Now();
  worker.ready = std::set<std::string>(bases.begin(), bases.end());
  worker.loading.clear();  // what was asked for may have been lost with the stream
  worker.unloading = std::set<std::string>(unloading.begin(), unloading.end());
  return came_back;
}

void Fleet::Disconnect(const std::string& session, uint64_t link) {
  const auto found = workers_.find(session);
  if (found == workers_.end() || found->second.link != link || !found->second.connected) return;
  found->second.connected = false;
  found->second.renewed = clock_.Now();
}

bool Fleet::Heartbeat(const std::string& session, int64_t adapters_resident, int64_t memory_bytes_used,
                      const std::vector<std::string>& jobs) {
  const auto found = workers_.find(session);
  if (found == workers_.end() || !found->second.connected) return false;
  Worker& worker = found->second;
  worker.renewed = clock_.Now();
  worker.adapters_resident = adapters_resident;
  worker.memory_bytes_used = memory_bytes_used;
  worker.jobs = jobs;
  return true;
}

void Fleet::SetWork(const std::string& session, bool open) {
  const auto found = workers_.find(session);
  if (found != workers_.end()) found->second.work = open;
}

void Fleet::BaseLoaded(const std::string& session, const std::string& digest, bool ok) {
  const auto found = workers_.find(session);
  if (found == workers_.end()) return;
  Worker& worker = found->second;
  worker.renewed = clock_.Now();
  worker.loading.erase(digest);
  if (ok) {
    worker.ready.insert(digest);
    worker.failed.erase(digest);
  } else {
    worker.failed[digest] = clock_.Now() + options_.load_retry;
  }
}

void Fleet::BasesHeld(const std::string& session, const std::vector<std::string>& digests) {
  const auto found = workers_.find(session);
  if (found == workers_.end()) return;
  const std::set<std::string> held(digests.begin(), digests.end());
  std::erase_if(found->second.unloading, [&](const std::string& digest) { return !held.contains(digest); });
}

void Fleet::SetBases(std::vector<Base> bases) {
  bases_ = std::move(bases);
  std::map<std::string, int64_t> bytes;
  for (const Base& base : bases_) bytes[base.digest] = base.bytes;
  for (const auto& [session, worker] : workers_) {
    for (const auto* held : {&worker.ready, &worker.loading, &worker.unloading}) {
      for (const std::string& digest : *held) {
        if (const auto known = bytes_.find(digest); known != bytes_.end()) bytes.insert(*known);
      }
    }
  }
  bytes_ = std::move(bytes);
}

std::vector<Fleet::Load> Fleet::TakeUnloads() {
  std::vector<Load> unloads;
  for (auto& [session, worker] : workers_) {
    if (!worker.connected) continue;
    const std::set<std::string> ready = worker.ready;
    for (const std::string& digest : ready) {
      if (InCatalog(digest)) continue;
      worker.ready.erase(digest);
      worker.unloading.insert(digest);
      unloads.push_back({session, digest});
    }
  }
  return unloads;
}

std::vector<Fleet::Load> Fleet::TakeLoads() {
  std::vector<Load> loads;
  const auto load = [&](Worker& worker, const Base& base) {
    worker.loading.insert(base.digest);
    loads.push_back({worker.identity.session, base.digest});
  };
  // A base that nobody has goes where most room is, large ones first: they have the least choice.
  std::vector<Base> homeless;
  for (const Base& base : bases_) {
    if (StageOf(base.digest) == BaseStage::kAbsent) homeless.push_back(base);
  }
  std::stable_sort(homeless.begin(), homeless.end(), [](const Base& a, const Base& b) { return a.bytes > b.bytes; });
  for (const Base& base : homeless) {
    Worker* best = nullptr;
    for (auto& [session, worker] : workers_) {
      if (MayLoad(worker, base) && (best == nullptr || FreeBytes(worker) > FreeBytes(*best))) best = &worker;
    }
    if (best != nullptr) load(*best, base);
  }
  for (const Base& base : bases_) {
    for (auto& [session, worker] : workers_) {
      if (MayLoad(worker, base)) load(worker, base);
    }
  }
  return loads;
}

std::vector<std::string> Fleet::TakeLost() {
  std::vector<std::string> lost;
  const absl::Time now = clock_.Now();
  for (auto it = workers_.begin(); it != workers_.end();) {
    const Worker& worker = it->second;
    if (now >= worker.renewed + (worker.connected ? options_.lease : options_.reconnect_window)) {
      lost.push_back(it->first);
      it = workers_.erase(it);
    } else {
      ++it;
    }
  }
  return lost;
}

bool Fleet::Connected(const std::string& session) const {
  const auto found = workers_.find(session);
  return found != workers_.end() && found->second.connected;
}

bool Fleet::Serves(const std::string& session, const std::string& digest) const {
  const auto found = workers_.find(session);
  return found != workers_.end() && found->second.connected && found->second.work &&
         found->second.ready.count(digest) > 0;
}

BaseStage Fleet::StageOf(const std::string& digest) const {
  BaseStage stage = BaseStage::kAbsent;
  for (const auto& [session, worker] : workers_) {
    if (Serves(session, digest)) return BaseStage::kReady;
    // One whose process was replaced, or whose time is over, is not waited for.
    const bool may_come_back = worker.connected || clock_.Now() < worker.renewed + options_.reconnect_window;
    // One that was deleted and added again is loaded again as soon as it is unloaded.
    const bool again = worker.unloading.count(digest) > 0 && InCatalog(digest);
    if (may_come_back && (again || worker.ready.count(digest) > 0 || worker.loading.count(digest) > 0)) {
      stage = BaseStage::kExpected;
    }
  }
  return stage;
}

WorkerStage Fleet::StageOf(const Worker& worker) const {
  if (!worker.connected) return WorkerStage::kLost;
  const bool can_work = worker.work && (!worker.ready.empty() || worker.loading.empty());
  return can_work ? WorkerStage::kReady : WorkerStage::kLoading;
}

std::vector<WorkerView> Fleet::Workers() const {
  std::vector<WorkerView> views;
  for (const auto& [session, worker] : workers_) {
    WorkerView view;
    view.identity = worker.identity;
    view.stage = StageOf(worker);
    view.connect_time = worker.connect_time;
    view.bases.assign(worker.ready.begin(), worker.ready.end());
    view.jobs = worker.jobs;
    view.adapters_resident = worker.adapters_resident;
    view.memory_bytes_used = worker.memory_bytes_used;
    views.push_back(std::move(view));
  }
  std::sort(views.begin(), views.end(),
            [](const WorkerView& a, const WorkerView& b) { return a.identity.id < b.identity.id; });
  return views;
}

bool Fleet::serving() const {
  return std::any_of(workers_.begin(), workers_.end(), [](const auto& entry) {
    return entry.second.connected && entry.second.work && !entry.second.ready.empty();
  });
}

bool Fleet::InCatalog(const std::string& digest) const {
  return std::any_of(bases_.begin(), bases_.end(), [&](const Base& base) { return base.digest == digest; });
}

int64_t Fleet::FreeBytes(const Worker& worker) const {
  if (worker.identity.memory_bytes == 0) return std::numeric_limits<int64_t>::max();
  int64_t free = worker.identity.memory_bytes;
  for (const auto* held : {&worker.ready, &worker.loading, &worker.unloading}) {
    for (const std::string& digest : *held) {
      const auto bytes = bytes_.find(digest);
      // Held since before this server started, and deleted meanwhile: it may be as large as the worker.
      if (bytes == bytes_.end()) return 0;
      free -= bytes->second;
    }
  }
  return free;
}

bool Fleet::MayLoad(const Worker& worker, const Base& base) const {
  if (!worker.connected || worker.unloading.count(base.digest) > 0) return false;
  if (worker.ready.count(base.digest) > 0 || worker.loading.count(base.digest) > 0) return false;
  const auto failed = worker.failed.find(base.digest);
  if (failed != worker.failed.end() && clock_.Now() < failed->second) return false;
  return base.bytes <= FreeBytes(worker);
}

}  // namespace tenon::server
