// Waits between attempts: exponential, with full jitter. Pure.
#pragma once

#include <algorithm>
#include <random>

#include "absl/time/time.h"

namespace tenon::link {

class Backoff {
 public:
  struct Options {
    absl::Duration first = absl::Milliseconds(100);
    absl::Duration most = absl::Seconds(2);  // below the reconnect window of 5 s
  };
  explicit Backoff(const Options& options, uint64_t seed = std::random_device{}())
      : options_(options), next_(options.first), random_(seed) {}

  // Between half of and the whole of a wait that doubles at every call.
  absl::Duration Next() {
    const absl::Duration whole = next_;
    next_ = std::min(next_ * 2, options_.most);
    return whole * std::uniform_real_distribution<double>(0.5, 1.0)(random_);
  }
  void Reset() { next_ = options_.first; }

 private:
  const Options options_;
  absl::Duration next_;
  std::mt19937_64 random_;
};

}  // namespace tenon::link
