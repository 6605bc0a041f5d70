// A classifier on an encoder whose every weight is trained. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/base.h"
#include "worker/engine/model/activation.h"
#include "worker/engine/model/encoder.h"

namespace tenon::engine {

// Weights to begin with, fp32, each module under its name in transformers' classifier for config's task without what
// stands before the encoder: the base's own, and a new output layer for config's labels, which is called `classifier`
// in every family, drawn as transformers draws one. A base without the head's dense layer gets a new one in the same
// way. What the network of transformers does not hold (`position_ids`, heads of other tasks) is left out.
absl::StatusOr<AdapterTensors> CopyEncoder(const Base& base, const formats::TenonConfig& config, uint64_t seed);

// The encoder over such modules: plain products, so that autograd follows every weight. It shares their memory, and
// sees each step that the optimizer makes in it.
//
// Of the hooks it takes dropout alone: there is no adapter beside weights that are trained themselves.
class FullEncoder final : public EncoderLayers {
 public:
  FullEncoder(const formats::EncoderConfig& config, const std::map<std::string, SavedModule>& modules);

  at::Tensor Embed(const PackedBatch& batch, const ForwardHooks& hooks) const override;
  at::Tensor Layer(int64_t index, const at::Tensor& x, const PackedBatch& batch, const ForwardHooks& hooks,
                   Lines lines) const override;
  at::Tensor Pool(const at::Tensor& first_tokens, const ForwardHooks& hooks) const override;

  const formats::EncoderConfig& config() const override { return config_; }
  at::Device device() const override { return words_.device(); }

 private:
  struct Weights {
    SavedModule query, key, value, attention_output, attention_norm, intermediate, output, output_norm;
  };
  at::Tensor Attend(const Weights& layer, const at::Tensor& x, const PackedBatch& batch,
                    const ForwardHooks& hooks) const;
  at::Tensor Normalized(const SavedModule& norm, const at::Tensor& x) const;

  const formats::EncoderConfig config_;
  const Activation activation_;
  at::Tensor words_, positions_, types_;  // types_ is undefined in a family without
  SavedModule embedding_norm_, dense_;    // dense_ is undefined where the head is one layer
  std::vector<Weights> layers_;
};

}  // namespace tenon::engine
