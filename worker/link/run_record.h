// What a training run has measured so far and its result will say; it travels with the checkpoints, so that a resumed
// run says the same.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/engine/train/trainer.h"

namespace tenon::link {

// File beside the trainer's own in a published checkpoint.
inline constexpr char kRunRecordFile[] = "run.json";

class RunRecord {
 public:
  void Start(absl::Time now) { started_ = now; }
  void Add(const engine::TrainEvaluation& evaluation);
  // Training seconds of this run and of those that it resumed.
  double Seconds(absl::Time now) const;

  const std::map<std::string, double>& untrained() const { return untrained_; }
  const std::map<std::string, double>& best() const { return best_; }
  const std::map<std::string, double>& head_baseline() const { return head_baseline_; }

  std::string ToJson(absl::Time now) const;
  // The record of an earlier run, which this one goes on from.
  static absl::StatusOr<RunRecord> FromJson(const std::string& json);

 private:
  std::map<std::string, double> untrained_, best_, head_baseline_;
  double earlier_seconds_ = 0;
  absl::Time started_ = absl::InfinitePast();
};

}  // namespace tenon::link
