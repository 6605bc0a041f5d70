// Which kind of slice the device runs next. Pure: durations come in, choices go out.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/time/time.h"

namespace tenon::runtime {

// Inference goes first. Background jobs (training, evaluation) get what is left, and while both wait at least a fixed
// share of the device's time, so that they cannot starve. Among jobs, the one that has used least goes first.
//
// The share is kept by a debt: every inference slice that made a job wait adds `floor` of its time, every background
// slice that made inference wait takes (1 - floor) of its own away. Background runs while the debt is positive. The
// debt is bounded on both sides: neither an idle nor a busy hour buys a burst later.
class SlicePolicy {
 public:
  // `floor` in [0, 0.9]: share of device time that waiting background jobs get together.
  explicit SlicePolicy(double floor, absl::Duration max_debt = absl::Milliseconds(200));

  enum class Kind { kNone, kInference, kBackground };
  struct Choice {
    Kind kind = Kind::kNone;
    uint64_t job = 0;  // of kBackground
  };

  void AddJob(uint64_t job);
  void RemoveJob(uint64_t job);

  // `ready`: jobs that could run a slice now.
  Choice Next(bool inference_ready, const std::vector<uint64_t>& ready) const;
  // What a slice took; `other_waited`: the other kind could have run instead.
  void Account(const Choice& choice, absl::Duration took, bool other_waited);

  absl::Duration debt() const { return debt_; }

 private:
  const double floor_;
  const absl::Duration max_debt_;
  absl::Duration debt_;
  std::map<uint64_t, absl::Duration> used_;
};

}  // namespace tenon::runtime
