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
#include "worker/engine/model/decode/encoder_decoder.h"
#include "worker/engine/model/t5/encoder.h"

namespace tenon::engine {

struct T5DecoderLayer {
  SelfAttentionWeights attention;
  CrossAttentionWeights source;
  FeedForward feed_forward;
};

// Immutable weights in one precision on one device. All methods are const and re-entrant.
class T5Model final : public EncoderDecoder {
 public:
  // With `prepare_inference` it measures which products are faster here, and keeps packed weights where they are;
  // it measures within `run_alone`.
  // BASE_INVALID names the tensor at fault.
  static absl::StatusOr<std::shared_ptr<const T5Model>> Load(const formats::T5Config& config,
                                                             const formats::Safetensors& weights, const Device& device,
                                                             Precision precision, bool prepare_inference,
                                                             const RunAlone& run_alone = {});

  at::Tensor Encode(const PackedBatch& batch, const ForwardHooks& hooks) const override;
  std::vector<at::Tensor> SourceKeysValues(const at::Tensor& states, const ForwardHooks& hooks) const override;
  std::unique_ptr<StepAttention> NewStepAttention() const override;
  at::Tensor Step(const at::Tensor& ids, const at::Tensor& places, StepAttention& attention,
                  const ForwardHooks& hooks) const override;
  at::Tensor Output(const at::Tensor& states, const ForwardHooks& hooks) const override;

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
  int64_t vocab_size() const override { return config_.vocab_size; }
  int64_t hidden_size() const override { return config_.d_model; }
  int64_t decoder_heads() const override { return config_.num_heads; }
  int64_t max_positions() const override { return 0; }  // they are relative
  at::Device device() const override { return device_; }
  bool own_kernels() const override { return own_kernels_; }
  bool grouped() const override { return !own_kernels_; }
  bool by_rows() const override { return by_rows_; }
  int64_t RoundTokens(int64_t) const override { return 1; }
  at::ScalarType inference_dtype() const override { return own_kernels_ ? at::kFloat : type_; }
  const std::map<std::string, std::pair<int64_t, int64_t>>& linear_layers() const override { return linear_layers_; }
  const at::Tensor& output_layer() const override { return output_.linear().weight(); }
  int64_t ResidentBytes() const override;

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
