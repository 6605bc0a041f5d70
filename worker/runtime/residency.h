// Which adapters are in host memory and on the device, which are loaded next and which make room. Pure: no threads, no
// I/O.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/engine/adapter/adapter.h"
#include "worker/runtime/batcher.h"

namespace tenon::runtime {

enum class Tier { kDisk, kMemory, kDevice };
// `disk`, `memory`, `device`.
const char* TierName(Tier tier);

// An adapter revision on a base, by digests.
struct AdapterKey {
  std::string base;
  std::string adapter;
  auto operator<=>(const AdapterKey&) const = default;
};

// Tiers: disk (somebody fetches), host memory (bounded by bytes), device (bounded by slots). Each is a
// least-recently-used list; a handle is a shared_ptr, and what somebody holds is never evicted.
//
// Who needs an adapter on the device says Want and, when done, Unwant; wanted adapters get slots in the order in which
// they were first wanted. When every slot is taken, one that nobody wants leaves first. When all are wanted, one that
// has served and has had its slot for `quantum` leaves and queues again behind the others, so that with N slots any
// number of adapters takes turns. Not thread-safe: the owner has a lock.
class Residency {
 public:
  struct Options {
    int64_t device_slots = 256;
    int64_t host_bytes = int64_t{2} << 30;
    absl::Duration quantum = absl::Milliseconds(100);
  };
  using Host = std::shared_ptr<const engine::HostAdapter>;
  using Device = std::shared_ptr<const engine::DeviceAdapter>;
  // A load to be done by somebody else, who answers with OnHost or OnDevice.
  struct Load {
    AdapterId id = kNoAdapter;
    AdapterKey key;
    Tier from = Tier::kDisk;  // kDisk: to host memory; kMemory: to the device
    Host host;                // of kMemory
  };
  struct Counts {
    int64_t on_device = 0, in_memory = 0, device_bytes = 0, host_bytes = 0;
  };

  explicit Residency(const Options& options) : options_(options) {}

  // Counts a need for the adapter and says where it is now. `host_only`: host memory is enough.
  AdapterId Want(const AdapterKey& key, bool host_only, Tier* tier);
  void Unwant(AdapterId id, bool host_only);

  // The next load to start, or nothing for now. A slot that it needs is made free here.
  std::optional<Load> NextLoad(absl::Time now);
  void OnHost(AdapterId id, absl::StatusOr<Host> host);
  void OnDevice(AdapterId id, absl::StatusOr<Device> device, absl::Time now);

  // nullptr when it is not there.
  Host HostHandle(AdapterId id) const;
  Device DeviceHandle(AdapterId id) const;
  bool OnDevice(AdapterId id) const;
  // It served a batch, or a row that joined a decoder.
  void Touch(AdapterId id);
  // Whether whoever holds it row by row must take no more rows: somebody waits for a slot, all slots are held, and this
  // adapter is the one that has had its own longest, for `quantum` at least. Else a long call that always has a row
  // running would keep its slot for good.
  bool MustYield(AdapterId id, absl::Time now) const;

  // Handles that left, and the tiers they left, since the last call: to be destroyed outside the lock.
  struct Evicted {
    std::vector<Tier> tiers;
    std::vector<std::shared_ptr<const void>> handles;
  };
  Evicted TakeEvicted() { return std::exchange(evicted_, {}); }
  // When a slot may change hands because its quantum ends; InfiniteFuture when nobody waits for one.
  absl::Time NextRotation(absl::Time now) const;
  Counts counts() const;

 private:
  struct Entry {
    AdapterKey key;
    int64_t wants = 0, host_wants = 0;
    bool loading = false;  // either way
    bool queued = false;   // in queue_
    bool served = false;   // since it got its slot
    absl::Time since;      // it got its slot
    uint64_t used = 0;     // for both LRU orders
    Host host;
    Device device;
  };
  void Enqueue(AdapterId id, Entry& entry);
  bool MakeSlot(absl::Time now);
  bool InUse(const Entry& entry) const;
  void TrimHost();
  void Forget(AdapterId id);

  const Options options_;
  std::map<AdapterKey, AdapterId> ids_;
  std::unordered_map<AdapterId, Entry> entries_;
  std::list<AdapterId> queue_;  // wanted, not where they are wanted, first come first
  AdapterId next_id_ = 1;
  uint64_t tick_ = 0;
  int64_t slots_used_ = 0;  // on the device or on the way there
  int64_t host_bytes_ = 0;
  Evicted evicted_;
};

}  // namespace tenon::runtime
