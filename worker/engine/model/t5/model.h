// T5, T5 v1.1 and FLAN-T5 (Raffel et al., 2020; Chung et al., 2022), as transformers' T5ForConditionalGeneration
// computes them. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/safetensors.h"
#include "common/formats/t5_config.h"
#include "worker/engine/device.h"
#include "worker/engine/model/decode/step_attention.h"
#include "worker/engine/model/t5/encoder.h"

namespace tenon::engine {

struct T5DecoderLayer {
  SelfAttentionWeights attention;
  CrossAttentionWeights source;
  FeedForward feed_forward;
};

// Immutable weights in one precision on one device. All methods are const and re-entrant.
class T5Model {
 public:
  // With `prepare_inference` it measures which products are faster here, and keeps packed weights where they are;
  // it measures within `run_alone`.
  // BASE_INVALID names the tensor at fault.
  static absl::StatusOr<std::shared_ptr<const T5Model>> Load(const formats::T5Config& config,
                                                             const formats::Safetensors& weights, const Device& device,
                                                             Precision precision, bool prepare_inference,
                                                             const RunAlone& run_alone = {});

  // Final states of sources' tokens, one row each: [T, d_model].
  at::Tensor Encode(const PackedBatch& batch, const ForwardHooks& hooks) const;
  // What a decoding step reads of these states in every layer: [T, 2 * heads * d_kv], keys, then values.
  std::vector<at::Tensor> SourceKeysValues(const at::Tensor& states, const ForwardHooks& hooks) const;

  // For decoding steps of these weights; it must not outlive them.
  std::unique_ptr<StepAttention> NewStepAttention() const;
  // Newest tokens of lines [lines] int64 -> what the output layer reads, [lines, d_model].
  at::Tensor Step(const at::Tensor& ids, StepAttention& attention, const ForwardHooks& hooks) const;
  // Logits [lines, vocab] of what Step gave, in any order of lines.
  at::Tensor Output(const at::Tensor& states, const ForwardHooks& hooks) const;

  // The parts, for training's paths through them (t5/training.h).
  const at::Tensor& embedding() const { return embedding_; }
  const T5Encoder& encoder() const { return encoder_; }
  const std::vector<T5DecoderLayer>& decoder() const { return decoder_; }
  const RelativeBias& decoder_bias() const { return decoder_bias_; }
  const RmsNorm& decoder_norm() const { return decoder_norm_; }
  const JointLinear& output() const { return output_; }
  // fp32 copies of the embeddings of these tokens, [ids, d_model].
  at::Tensor CopyWords(const std::vector<int64_t>& ids) const;
  // An fp32 copy of a linear layer's weight [out, in], for an adapter that replaces it whole.
  at::Tensor CopyLinear(const std::string& module) const;

  const formats::T5Config& config() const { return config_; }
  at::Device device() const { return device_; }
  // Whether states are fp32 on the CPU and our own kernels take them, row by row; Pack needs no groups then.
  bool own_kernels() const { return own_kernels_; }
  // Whether threads are better given rows of the encoder than a share of every product.
  bool by_rows() const { return by_rows_; }
  // Of states and of adapters' tensors in inference.
  at::ScalarType inference_dtype() const { return own_kernels_ ? at::kFloat : type_; }
  // Names and [out, in] of every linear layer that a LoRA may target; `lm_head` where it is not the embedding.
  const std::map<std::string, std::pair<int64_t, int64_t>>& linear_layers() const { return linear_layers_; }
  // [vocab, d_model], of the weights' type.
  const at::Tensor& output_layer() const { return output_.linear().weight(); }
  int64_t ResidentBytes() const;

 private:
  T5Model(const formats::T5Config& config, at::Device device, at::ScalarType type)
      : config_(config), device_(device), type_(type) {}
  absl::Status Read(T5Reader& reader);
  void PrepareInference(const RunAlone& run_alone);
  at::Tensor Embed(const at::Tensor& ids) const;

  const formats::T5Config config_;
  const at::Device device_;
  const at::ScalarType type_;
  at::Tensor embedding_;  // [vocab, d_model]
  T5Encoder encoder_;
  std::vector<T5DecoderLayer> decoder_;
  RelativeBias decoder_bias_;
  RmsNorm decoder_norm_;
  JointLinear output_;
  std::map<std::string, std::pair<int64_t, int64_t>> linear_layers_;
  bool own_kernels_ = false, by_rows_ = false;
};

}  // namespace tenon::engine
