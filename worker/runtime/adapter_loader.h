// Brings adapters to where they are wanted: the threads and the I/O around Residency.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "worker/runtime/residency.h"
#include "worker/runtime/runtime.h"
#include "worker/runtime/task_pool.h"

namespace tenon::runtime {

// Thread-safe. Nothing here blocks the caller: files are fetched and read on two threads, placed on the device on one.
class AdapterLoader {
 public:
  // An adapter arrived in a tier, or its load failed. Called on a loader thread, no lock held.
  using Changed = std::function<void(AdapterId id, const absl::Status& status)>;

  AdapterLoader(const Residency::Options& options, AdapterSource* source, const Clock* clock, RuntimeObserver observer,
                Changed changed);
  ~AdapterLoader() { Stop(); }
  // Waits for loads that run. Nothing is called afterwards.
  void Stop();

  // A base must be added before adapters on it are wanted, and held for as long: it is not held here.
  void AddBase(const std::string& digest, const std::shared_ptr<const engine::Base>& base);

  // See Residency. Unwant starts nothing: Pump.
  AdapterId Want(const AdapterKey& key, bool host_only);
  void Unwant(AdapterId id, bool host_only);
  Residency::Host HostHandle(AdapterId id) const;
  Residency::Device DeviceHandle(AdapterId id) const;
  bool OnDevice(AdapterId id) const;
  void Touch(AdapterId id);
  bool MustYield(AdapterId id, absl::Time now) const;

  // Starts what can be started. Somebody may be waiting for a slot: called again after handles were let go, by the
  // device loop before every slice.
  void Pump();
  absl::Time NextRotation(absl::Time now) const;
  Residency::Counts counts() const;

 private:
  absl::StatusOr<std::shared_ptr<const engine::Base>> BaseOf(const AdapterKey& key) const;
  void LoadHost(const Residency::Load& load);
  void Place(const Residency::Load& load);
  void Report(const char* from, absl::Duration took, const absl::Status& status) const;

  AdapterSource* const source_;
  const Clock& clock_;
  const RuntimeObserver observer_;
  const Changed changed_;

  mutable absl::Mutex mutex_;
  Residency residency_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, std::weak_ptr<const engine::Base>> bases_ ABSL_GUARDED_BY(mutex_);

  TaskPool readers_{2};
  TaskPool placer_{1};
};

}  // namespace tenon::runtime
