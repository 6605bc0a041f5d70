// A base's network in each precision that somebody asked for. Free of torch.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/formats/status.h"
#include "worker/engine/device.h"

namespace tenon::engine {

// Safe from any thread.
template <typename Network>
class PrecisionCopies {
 public:
  // The copy in this precision; `load()`, which gives a StatusOr of one, is called when it is not there.
  template <typename Load>
  absl::StatusOr<std::shared_ptr<const Network>> Get(Precision precision, const Load& load) {
    if (auto network = Find(precision)) return network;
    // Serving in one precision must not wait while a job loads another.
    absl::MutexLock loading(&loading_);
    if (auto network = Find(precision)) return network;
    ASSIGN_OR_RETURN(std::shared_ptr<const Network> network, load());
    absl::MutexLock lock(&mutex_);
    copies_[precision] = network;
    return network;
  }

  // Device bytes of all copies.
  int64_t ResidentBytes() const {
    absl::MutexLock lock(&mutex_);
    int64_t bytes = 0;
    for (const auto& [precision, network] : copies_) bytes += network->ResidentBytes();
    return bytes;
  }

 private:
  std::shared_ptr<const Network> Find(Precision precision) const {
    absl::MutexLock lock(&mutex_);
    const auto found = copies_.find(precision);
    return found == copies_.end() ? nullptr : found->second;
  }

  absl::Mutex loading_;  // one at a time; before `mutex_`, which nobody holds for long
  mutable absl::Mutex mutex_;
  std::map<Precision, std::shared_ptr<const Network>> copies_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tenon::engine
