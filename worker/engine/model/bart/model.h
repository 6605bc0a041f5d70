// BART (Lewis et al., 2020), as transformers' BartForConditionalGeneration computes it: norms behind the sub-layers,
// learnt positions, biases. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/bart_config.h"
#include "common/formats/safetensors.h"
#include "worker/engine/device.h"
#include "worker/engine/model/bart/reader.h"
#include "worker/engine/model/decode/encoder_decoder.h"

namespace tenon::engine {

class BartModel final : public EncoderDecoder {
 public:
  // With `prepare_inference` it measures which products are faster here, and keeps packed weights where they are;
  // it measures within `run_alone`.
  // BASE_INVALID names the tensor at fault.
  static absl::StatusOr<std::shared_ptr<const BartModel>> Load(const formats::BartConfig& config,
                                                               const formats::Safetensors& weights,
                                                               const Device& device, Precision precision,
                                                               bool prepare_inference, const RunAlone& run_alone = {});

  at::Tensor Encode(const PackedBatch& batch, const ForwardHooks& hooks) const override;
  std::vector<at::Tensor> SourceKeysValues(const at::Tensor& states, const ForwardHooks& hooks) const override;
  std::unique_ptr<StepAttention> NewStepAttention() const override;
  at::Tensor Step(const at::Tensor& ids, const at::Tensor& places, StepAttention& attention,
                  const ForwardHooks& hooks) const override;
  at::Tensor Output(const at::Tensor& states, const ForwardHooks& hooks) const override;

  const formats::BartConfig& config() const { return config_; }
  int64_t vocab_size() const override { return config_.vocab_size; }
  int64_t hidden_size() const override { return config_.d_model; }
  int64_t decoder_heads() const override { return config_.decoder_heads; }
  int64_t max_positions() const override { return config_.max_positions; }
  at::Device device() const override { return device_; }
  bool own_kernels() const override { return own_kernels_; }
  bool grouped() const override { return !encoder_->by_rows(); }
  bool by_rows() const override { return encoder_->by_rows(); }
  int64_t RoundTokens(int64_t tokens) const override { return encoder_->RoundTokens(tokens); }
  at::ScalarType inference_dtype() const override { return own_kernels_ ? at::kFloat : type_; }
  const std::map<std::string, std::pair<int64_t, int64_t>>& linear_layers() const override { return linear_layers_; }
  const at::Tensor& output_layer() const override { return output_.linear().weight(); }
  int64_t ResidentBytes() const override;

 private:
  BartModel(const formats::BartConfig& config, at::Device device, at::ScalarType type)
      : config_(config), device_(device), type_(type) {}
  absl::Status Read(BartReader& reader, bool prepare_inference, const RunAlone& run_alone);
  int64_t head_size() const { return config_.d_model / config_.decoder_heads; }
  // Whether our own kernels know the decoder's sizes, wherever its weights are.
  bool Fits() const;
  void PrepareDecoder(const RunAlone& run_alone);

  const formats::BartConfig config_;
  const at::Device device_;
  const at::ScalarType type_;
  const Activation activation_ = ParseActivation(config_.activation);
  at::Tensor embedding_;  // [vocab, d_model]; of both stacks
  std::shared_ptr<const Encoder> encoder_;
  at::Tensor positions_;  // [max_positions, d_model], of the decoder
  PostNorm norm_;         // of its embeddings
  std::vector<BartDecoderLayer> decoder_;
  JointLinear output_;
  at::Tensor output_bias_;  // [vocab] fp32, or undefined
  std::map<std::string, std::pair<int64_t, int64_t>> linear_layers_;
  bool own_kernels_ = false;
};

}  // namespace tenon::engine
