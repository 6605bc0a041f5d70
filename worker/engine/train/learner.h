// What is trained, apart from how a run goes: the loop asks for gradients and metrics, and never knows of layers or
// tasks.
// Engine-internal, torch inside.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "worker/engine/train/trainable.h"

namespace tenon::engine {

// One optimizer step's forward and backward work, finished.
struct StepResult {
  double loss = 0;  // mean over what the task counts: examples, or target tokens
  int64_t examples = 0;
  int64_t tokens = 0;
};

// What an evaluation found, by name; `loss` is always there.
using Metrics = std::map<std::string, double>;

// Each method does one slice of device work.
class Learner {
 public:
  virtual ~Learner() = default;

  // Work on the frozen base that comes before everything else; false once there is none left.
  virtual absl::StatusOr<bool> Prepare() = 0;
  // A part of step `step`, counted from 1; the step's result with its last part, when every parameter's gradient is
  // complete.
  virtual absl::StatusOr<std::optional<StepResult>> TrainSlice(int64_t step) = 0;
  // Whether there are validation rows.
  virtual bool evaluates() const = 0;
  // A part of an evaluation of the weights as they are now; the metrics with its last part. Draws from no random
  // stream.
  virtual std::optional<Metrics> EvaluationSlice() = 0;

  virtual TrainableAdapter& adapter() = 0;
  virtual int64_t total_steps() const = 0;
};

}  // namespace tenon::engine
