// The weights that a run changes. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/train/dropout.h"
#include "worker/engine/train/trainer.h"
#include "worker/engine/train/training_site.h"

namespace tenon::engine {

struct Parameter {
  std::string name;                     // `encoder.layer.0.attention.self.query.lora_A`, `classifier.bias`
  at::Tensor value;                     // fp32 leaf
  at::Tensor grad;                      // like value; undefined until the first backward of a step
  std::vector<int64_t> segments = {0};  // of the network that read it (train/segments.h), ascending
  bool decay = true;                    // weight decay is for matrices
};

// New weights (or `initial`'s) for an adapter, and the hooks that put them into the encoder. The tensors of `adapter()`
// and the values of `parameters()` are the same memory.
class TrainableAdapter {
 public:
  // What NewAdapter makes, with `initial`'s weights where there is one: ADAPTER_INVALID when it is of another shape.
  static absl::StatusOr<TrainableAdapter> Make(const TrainingSite& site, const TrainOptions& options,
                                               const formats::TenonConfig& config, const AdapterTensors* initial,
                                               absl::Span<const int32_t> init_tokens = {});
  // All of `modules` (method `full`: a whole model and its head), with the head of `initial` where there is one.
  static absl::StatusOr<TrainableAdapter> MakeWhole(AdapterTensors modules, const TrainingSite& site,
                                                    const AdapterTensors* initial);
  // A head alone: [labels, features].
  static absl::StatusOr<TrainableAdapter> MakeHead(int64_t features, double initializer_range, uint64_t seed,
                                                   const at::Device& device, const formats::TenonConfig& config,
                                                   const AdapterTensors* initial);

  std::vector<Parameter>& parameters() { return parameters_; }
  const AdapterTensors& adapter() const { return adapter_; }
  const SavedModule& head() const { return adapter_.modules.at(formats::kClassifier); }
  // Lowest segment that has a parameter: nothing below it needs a gradient.
  int64_t lowest_segment() const;

  // A copy with these values, by parameter name; those that are missing are as they are now.
  AdapterTensors Snapshot(const std::map<std::string, at::Tensor>& values) const;

  // Adds the adapter's part to each layer; `dropout` may be nullptr (evaluation). Both must outlive the hook.
  LinearHook Hook(JobDropout* dropout) const;
  // Whether it changes this linear layer's output.
  bool Adapts(const std::string& module) const { return adapter_.pairs.count(module) > 0 || Replaces(module); }
  // Adds the adapter's bottlenecks, and whether it has one behind a module; empty without any.
  BlockHook Blocks(JobDropout* dropout) const;
  bool HasBlock(const std::string& module) const { return adapter_.bottlenecks.count(module) > 0; }
  // Puts the adapter's virtual tokens in front of every row; empty without any.
  PromptHook Prompts() const;
  // Hook's work for the CPU's fused functions.
  FusedHooks Fused(JobDropout* dropout) const;
  // All of them together, as a network on this device wants them; the rates of the base's own dropout are the caller's.
  ForwardHooks Hooks(JobDropout* dropout, const at::Device& device) const;

 private:
  // Registers everything in adapter_ as parameters, in a fixed order.
  void Register(const std::function<std::vector<int64_t>(const std::string& module)>& segments_of);
  // Whether a module of the base is trained in a copy that stands for it. A whole model's are the network's own.
  bool Replaces(const std::string& module) const { return !whole_ && adapter_.modules.count(module) > 0; }

  AdapterTensors adapter_;
  bool whole_ = false;
  std::vector<Parameter> parameters_;
};

}  // namespace tenon::engine
