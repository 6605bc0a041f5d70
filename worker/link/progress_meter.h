// Training steps into what is shown of them: mean loss, rate, time left. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "tenon/v1/jobs.pb.h"
#include "worker/engine/train/trainer.h"

namespace tenon::link {

// Reports at most once an interval; numbers are measured in this run, none is guessed: the time left is absent before
// the third step.
class ProgressMeter {
 public:
  explicit ProgressMeter(absl::Duration interval = absl::Milliseconds(250)) : interval_(interval) {}

  // The progress to report after this step, if it is time (the last step always is).
  std::optional<v1::JobProgress> Add(const engine::TrainProgress& step, absl::Time now);
  // The same for rows of an evaluation.
  std::optional<v1::JobProgress> AddRows(int64_t done, int64_t total, absl::Time now);

 private:
  std::optional<v1::JobProgress> Report(int64_t done, int64_t total, absl::Time now);

  const absl::Duration interval_;
  std::optional<absl::Time> start_, last_;
  int64_t first_done_ = 0, measured_ = 0;
  double loss_ = 0;
  int64_t steps_ = 0, examples_ = 0;
};

}  // namespace tenon::link
