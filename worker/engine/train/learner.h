// What is trained, apart from how a run goes: the loop asks for gradients and logits, and never knows of layers.
// Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/adapter/write.h"
#include "worker/engine/train/trainable.h"

namespace tenon::engine {

// One optimizer step's forward and backward work, finished.
struct StepResult {
  double loss = 0;  // mean over the examples
  int64_t examples = 0;
  int64_t tokens = 0;
};

// Each method does one slice of device work.
class Learner {
 public:
  virtual ~Learner() = default;

  // Work on the frozen base that comes before everything else; false once there is none left.
  virtual absl::StatusOr<bool> Prepare() = 0;
  // A part of step `step`, counted from 1; the step's result with its last part, when every parameter's gradient is
  // complete.
  virtual absl::StatusOr<std::optional<StepResult>> TrainSlice(int64_t step) = 0;
  // Logits [R, labels] of validation rows as the weights are now; fp32. Draws from no random stream.
  virtual at::Tensor ValidationLogits(const std::vector<int64_t>& rows) = 0;
  // Validation rows, cut to what one slice takes.
  virtual const std::vector<std::vector<int64_t>>& validation_batches() const = 0;

  // Writes what the run made, `best` being a copy of adapter(), into an existing folder.
  virtual absl::Status Write(const std::filesystem::path& folder, const AdapterTensors& best) const {
    return WriteAdapter(folder, best);
  }

  virtual TrainableAdapter& adapter() = 0;
  virtual int64_t total_steps() const = 0;
};

}  // namespace tenon::engine
