// T5's parts out of a Hugging Face checkpoint, each checked. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/t5_config.h"
#include "worker/engine/model/t5/attention.h"
#include "worker/engine/model/t5/feed_forward.h"
#include "worker/engine/model/weights.h"

namespace tenon::engine {

// Names of modules in a checkpoint, without `.weight`; `stack` is `encoder` or `decoder`.
inline constexpr char kT5Embedding[] = "shared";
std::string T5FinalNormName(const std::string& stack);
// A stack's first block has the table for all.
std::string T5BiasName(const std::string& stack);

// Errors are BASE_INVALID and name the tensor.
class T5Reader {
 public:
  T5Reader(const formats::T5Config& config, const formats::Safetensors& file, at::Device device, at::ScalarType type)
      : config_(config), weights_(file, device, type) {}

  // [vocab, d_model]. A file of a model that shares its embedding may have it under any of the names it goes by.
  absl::StatusOr<at::Tensor> Embedding();
  // [vocab, d_model]: lm_head.weight where the file has it, whatever the configuration says, as transformers 5 does;
  // else the embedding, unless the configuration says that they differ.
  absl::StatusOr<at::Tensor> OutputLayer(const at::Tensor& embedding);
  // `stack` is `encoder` or `decoder`.
  absl::StatusOr<RelativeBias> Bias(const std::string& stack, bool both_ways);
  absl::StatusOr<RmsNorm> FinalNorm(const std::string& stack);
  // Sub-layers; `name` is such as `encoder.block.0.layer.0`.
  absl::StatusOr<SelfAttentionWeights> SelfAttention(const std::string& name);
  absl::StatusOr<CrossAttentionWeights> CrossAttention(const std::string& name);
  absl::StatusOr<FeedForward> FeedForwardBlock(const std::string& name);

  // When a tensor of the network is left over: then config.json tells of another one.
  absl::Status CheckAllTaken() const;
  // Names and [out, in] of the linear layers that were read.
  const std::map<std::string, std::pair<int64_t, int64_t>>& linear_layers() const { return linear_layers_; }

 private:
  absl::StatusOr<RmsNorm> Norm(const std::string& name);
  absl::StatusOr<JointLinear> Linears(const std::string& prefix, const std::vector<std::string>& names, int64_t in,
                                      int64_t out);

  const formats::T5Config& config_;
  WeightReader weights_;
  std::map<std::string, std::pair<int64_t, int64_t>> linear_layers_;
};

}  // namespace tenon::engine
