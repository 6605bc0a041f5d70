// GPT-2 (Radford et al., 2019) and OPT (Zhang et al., 2022), as transformers' GPT2LMHeadModel and OPTForCausalLM
// compute them: one network, which a formats::CausalFamily describes. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/formats/causal_config.h"
#include "common/formats/safetensors.h"
#include "worker/engine/device.h"
#include "worker/engine/model/activation.h"
#include "worker/engine/model/causal/reader.h"
#include "worker/engine/model/decode/step_attention.h"
#include "worker/engine/model/packed_batch.h"

namespace tenon::engine {

// A norm stands behind each sub-layer, wherever the family has it: the one that belongs to what follows reads the sum
// of output and residual, too.
struct CausalLayer {
  JointLinear qkv;  // [lines, hidden] -> [lines, 3 * hidden]
  JointLinear attention_output;
  LayerNorm behind_attention;
  JointLinear intermediate, output;
  LayerNorm behind_output;

  int64_t Bytes() const;
};

// Immutable weights in one precision on one device. All methods are const and re-entrant.
class CausalModel {
 public:
  // With `prepare_inference` it measures which products are faster here, and keeps packed weights where they are;
  // it measures within `run_alone`. BASE_INVALID names the tensor at fault.
  static absl::StatusOr<std::shared_ptr<const CausalModel>> Load(const formats::CausalConfig& config,
                                                                 const formats::Safetensors& weights,
                                                                 const Device& device, Precision precision,
                                                                 bool prepare_inference,
                                                                 const RunAlone& run_alone = {});

  // For lines of these weights; it must not outlive them.
  std::unique_ptr<StepAttention> NewStepAttention() const;
  // Reads prompts in one pass, each token in its slot of `slots`, of which there are `all_slots`: only what later
  // tokens look at is computed.
  void Read(const PackedBatch& batch, absl::Span<const int32_t> slots, int64_t all_slots, StepAttention& attention,
            const ForwardHooks& hooks) const;
  // Newest tokens of lines and their places in them, both [lines] int64 -> what the output layer reads,
  // [lines, word_size].
  at::Tensor Step(const at::Tensor& ids, const at::Tensor& positions, StepAttention& attention,
                  const ForwardHooks& hooks) const;
  // Logits [lines, vocab] of what Step gave, in any order of lines.
  at::Tensor Output(const at::Tensor& states, const ForwardHooks& hooks) const;

  const formats::CausalConfig& config() const { return config_; }
  at::Device device() const { return device_; }
  // Whether states are fp32 on the CPU and our own kernels take them, row by row; Pack needs no groups then.
  bool own_kernels() const { return own_kernels_; }
  // Of states and of adapters' tensors in inference.
  at::ScalarType inference_dtype() const { return own_kernels_ ? at::kFloat : type_; }
  // Names and [out, in] of every linear layer that a LoRA may target; `lm_head` where it is not the embedding.
  const std::map<std::string, std::pair<int64_t, int64_t>>& linear_layers() const { return linear_layers_; }
  // [vocab, word_size], of the weights' type.
  const at::Tensor& output_layer() const { return output_.linear().weight(); }
  int64_t ResidentBytes() const;

 private:
  CausalModel(const formats::CausalConfig& config, at::Device device, at::ScalarType type)
      : config_(config), device_(device), type_(type), activation_(ParseActivation(config.activation)) {}
  absl::Status Read(CausalReader& reader);
  absl::Status ReadLayers(CausalReader& reader);
  void PrepareInference(const RunAlone& run_alone);
  std::vector<JointLinear*> Products();

  // Layer `index`'s attention: qkv [lines, 3 * hidden], queries scaled -> [lines, hidden], or undefined to stop there.
  using Attention = std::function<at::Tensor(int64_t index, const at::Tensor& qkv)>;
  // Word embeddings [lines, word_size] at these positions -> normalised states behind the last layer, [lines, hidden].
  at::Tensor Run(const at::Tensor& words, const at::Tensor& positions, const Attention& attend,
                 const ForwardHooks& hooks, Lines lines) const;
  at::Tensor Words(const at::Tensor& ids) const;

  const formats::CausalConfig config_;
  const at::Device device_;
  const at::ScalarType type_;
  const Activation activation_;
  at::Tensor embedding_;  // [vocab, word_size]
  at::Tensor positions_;  // [max_tokens, hidden]
  JointLinear project_in_, project_out_;
  LayerNorm first_norm_;  // before the first layer, where norms stand before
  std::vector<CausalLayer> layers_;
  JointLinear output_;
  std::map<std::string, std::pair<int64_t, int64_t>> linear_layers_;
  bool own_kernels_ = false;
};

}  // namespace tenon::engine
