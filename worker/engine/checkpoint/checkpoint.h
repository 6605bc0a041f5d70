// All state of a run between two optimizer steps, as a folder. Engine-internal, torch inside.
//
// Files: state.json; weights.safetensors, best.safetensors (only once there is a best one), optimizer.safetensors.
// Random streams need no state of their own: they are functions of the seed and the place in the run.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "worker/engine/device.h"

namespace tenon::engine {

using NamedTensors = std::map<std::string, at::Tensor>;

// A safetensors file of them, in fp32. The same tensors give the same bytes.
absl::Status WriteTensors(const std::filesystem::path& file, const NamedTensors& tensors);

// What results may depend on beside the job itself.
struct Machine {
  std::string device;  // CPU model, or `cuda`
  int64_t threads = 0;
  std::string precision;

  bool operator==(const Machine&) const = default;
  std::string ToString() const;
};
Machine ThisMachine(const at::Device& device, Precision precision);

struct Checkpoint {
  int64_t step = 0;  // finished optimizer steps: the place in the plan
  int64_t total_steps = 0;
  uint64_t seed = 0;
  int64_t evaluated_step = 0;  // last step whose evaluation is behind
  int64_t best_step = 0;
  double best_value = 0;
  int64_t worse_evaluations = 0;
  int64_t trained_tokens = 0;
  Machine machine;
  NamedTensors weights, best;  // fp32, by parameter name
  NamedTensors first_moments, second_moments;
};

// Into an existing, empty folder. The same state gives the same bytes.
absl::Status WriteCheckpoint(const std::filesystem::path& folder, const Checkpoint& checkpoint);
// ADAPTER_INVALID or SAFETENSORS_INVALID says what is wrong. The tensors are the files' own memory: not to be written.
absl::StatusOr<Checkpoint> ReadCheckpoint(const std::filesystem::path& folder);

}  // namespace tenon::engine
