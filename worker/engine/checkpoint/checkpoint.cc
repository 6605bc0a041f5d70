#include "worker/engine/checkpoint/checkpoint.h"

#include <ATen/ops/from_blob.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/formats/files.h"
#include "common/formats/json.h"
#include "common/formats/json_fields.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "worker/engine/model/torch_util.h"

namespace tenon::engine {
namespace {

constexpr int64_t kFormat = 1;
constexpr int64_t kMaxCount = int64_t{1} << 53;
constexpr char kStateFile[] = "state.json";
constexpr char kWeightsFile[] = "weights.safetensors";
constexpr char kBestFile[] = "best.safetensors";
constexpr char kOptimizerFile[] = "optimizer.safetensors";
constexpr char kFirst[] = "first.";
constexpr char kSecond[] = "second.";

// The tensor where it lies in the mapped file, which stays as long as it: a whole model's checkpoint is not held twice.
absl::StatusOr<at::Tensor> InFile(const std::shared_ptr<const formats::Safetensors>& file,
                                  const formats::TensorView& view) {
  const bool aligned = reinterpret_cast<uintptr_t>(view.data) % alignof(float) == 0;
  if (view.dtype != formats::DType::kF32 || !aligned) return ToTensor(view, at::Device(at::kCPU), at::kFloat);
  return at::from_blob(
      const_cast<uint8_t*>(view.data), view.shape, [file](void*) {}, at::TensorOptions(at::kFloat));
}

absl::StatusOr<NamedTensors> ReadTensors(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const auto opened, formats::Safetensors::Open(file, {}));
  NamedTensors tensors;
  for (const auto& [name, view] : opened->tensors()) {
    ASSIGN_OR_RETURN(tensors[name], InFile(opened, view));
  }
  return tensors;
}

std::string StateText(const Checkpoint& checkpoint) {
  const nlohmann::json machine = {{"device", checkpoint.machine.device},
                                  {"threads", checkpoint.machine.threads},
                                  {"precision", checkpoint.machine.precision}};
  const nlohmann::json state = {{"format", kFormat},
                                {"step", checkpoint.step},
                                {"total_steps", checkpoint.total_steps},
                                {"seed", std::to_string(checkpoint.seed)},
                                {"evaluated_step", checkpoint.evaluated_step},
                                {"best_step", checkpoint.best_step},
                                {"best_value", checkpoint.best_value},
                                {"worse_evaluations", checkpoint.worse_evaluations},
                                {"trained_tokens", checkpoint.trained_tokens},
                                {"machine", machine}};
  return state.dump(2) + "\n";
}

absl::StatusOr<Checkpoint> ParseState(const std::string& text) {
  absl::StatusOr<nlohmann::json> parsed = formats::ParseJson(text);
  if (!parsed.ok() || !parsed->is_object()) {
    return TenonError(Reason::kAdapterInvalid, "state.json is not a JSON object", kStateFile);
  }
  Checkpoint state;
  formats::JsonFields fields(*parsed, kStateFile, Reason::kAdapterInvalid);
  if (fields.Int("format", 0, 0, kMaxCount) != kFormat) fields.Fail("format", "must be 1");
  state.step = fields.Int("step", 0, 0, kMaxCount);
  state.total_steps = fields.Int("total_steps", 0, 0, kMaxCount);
  if (!absl::SimpleAtoi(fields.String("seed", ""), &state.seed)) fields.Fail("seed", "must be a number in a string");
  state.evaluated_step = fields.Int("evaluated_step", 0, 0, kMaxCount);
  state.best_step = fields.Int("best_step", 0, 0, kMaxCount);
  state.best_value = fields.Real("best_value", 0, -1e300, 1e300);
  state.worse_evaluations = fields.Int("worse_evaluations", 0, 0, kMaxCount);
  state.trained_tokens = fields.Int("trained_tokens", 0, 0, kMaxCount);
  const nlohmann::json* machine = fields.Get("machine");
  if (machine == nullptr || !machine->is_object()) fields.Fail("machine", "must be an object");
  RETURN_IF_ERROR(fields.status());
  formats::JsonFields machine_fields(*machine, kStateFile, Reason::kAdapterInvalid);
  state.machine.device = machine_fields.String("device", "");
  state.machine.threads = machine_fields.Int("threads", 0, 0, kMaxCount);
  state.machine.precision = machine_fields.String("precision", "");
  RETURN_IF_ERROR(machine_fields.status());
  return state;
}

// Moves the tensors whose names begin with `prefix`, without it.
NamedTensors WithPrefix(const NamedTensors& tensors, const std::string& prefix) {
  NamedTensors found;
  for (const auto& [name, tensor] : tensors) {
    if (name.rfind(prefix, 0) == 0) found[name.substr(prefix.size())] = tensor;
  }
  return found;
}

}  // namespace

absl::Status WriteTensors(const std::filesystem::path& file, const NamedTensors& tensors) {
  std::vector<at::Tensor> copies;  // kept until they are on disk
  std::vector<formats::TensorToWrite> writes;
  for (const auto& [name, tensor] : tensors) {
    copies.push_back(tensor.detach().to(at::Device(at::kCPU), at::kFloat).contiguous());
    const at::Tensor& copy = copies.back();
    writes.push_back({name,
                      {formats::DType::kF32, copy.sizes().vec(), static_cast<const uint8_t*>(copy.const_data_ptr()),
                       TensorBytes(copy)}});
  }
  return formats::WriteSafetensors(file, std::move(writes), {{"format", "pt"}});
}

absl::Status WriteCheckpoint(const std::filesystem::path& folder, const Checkpoint& checkpoint) {
  NamedTensors moments;
  for (const auto& [name, tensor] : checkpoint.first_moments) moments[kFirst + name] = tensor;
  for (const auto& [name, tensor] : checkpoint.second_moments) moments[kSecond + name] = tensor;
  RETURN_IF_ERROR(WriteTensors(folder / kWeightsFile, checkpoint.weights));
  RETURN_IF_ERROR(WriteTensors(folder / kOptimizerFile, moments));
  if (!checkpoint.best.empty()) RETURN_IF_ERROR(WriteTensors(folder / kBestFile, checkpoint.best));
  // Last: a folder without it is not a checkpoint.
  const std::string state = StateText(checkpoint);
  return formats::WriteFileDurably(folder / kStateFile, {{state.data(), state.size()}});
}

absl::StatusOr<Checkpoint> ReadCheckpoint(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const std::string text, formats::ReadFile(folder / kStateFile, 1 << 20, Reason::kAdapterInvalid));
  ASSIGN_OR_RETURN(Checkpoint checkpoint, ParseState(text));
  ASSIGN_OR_RETURN(checkpoint.weights, ReadTensors(folder / kWeightsFile));
  ASSIGN_OR_RETURN(const NamedTensors moments, ReadTensors(folder / kOptimizerFile));
  checkpoint.first_moments = WithPrefix(moments, kFirst);
  checkpoint.second_moments = WithPrefix(moments, kSecond);
  if (checkpoint.best_step > 0) {
    ASSIGN_OR_RETURN(checkpoint.best, ReadTensors(folder / kBestFile));
  }
  return checkpoint;
}

}  // namespace tenon::engine
