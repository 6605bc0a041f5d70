// A decoder-only model's parts out of a Hugging Face checkpoint, each checked. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/causal_config.h"
#include "worker/engine/model/joint_linear.h"
#include "worker/engine/model/layer_norm.h"
#include "worker/engine/model/weights.h"

namespace tenon::engine {

// Errors are BASE_INVALID and name the tensor.
class CausalReader {
 public:
  CausalReader(const formats::CausalConfig& config, const formats::Safetensors& file, at::Device device,
               at::ScalarType type);

  // [vocab, word_size].
  absl::StatusOr<at::Tensor> Embedding();
  // [max_tokens, hidden], from a sequence's first token on.
  absl::StatusOr<at::Tensor> Positions();
  // [vocab, word_size]: lm_head.weight where the file has it, else the embedding, unless the configuration says that
  // they differ.
  absl::StatusOr<JointLinear> OutputLayer(const at::Tensor& embedding);
  absl::StatusOr<LayerNorm> Norm(const std::string& name);
  // Linear layers that read the same states, `out` outputs together; with biases, but for the projections of words.
  absl::StatusOr<JointLinear> Linears(const std::vector<std::string>& names, int64_t in, int64_t out);
  absl::StatusOr<JointLinear> Projection(const std::string& name, int64_t in, int64_t out);

  // When a tensor of the network is left over: then config.json tells of another one.
  absl::Status CheckAllTaken() const;
  // Names and [out, in] of the linear layers that were read.
  const std::map<std::string, std::pair<int64_t, int64_t>>& linear_layers() const { return linear_layers_; }

 private:
  // [out, in], however the file has it.
  absl::StatusOr<at::Tensor> Weight(const std::string& name, int64_t in, int64_t out, bool turned);

  const formats::CausalConfig& config_;
  const formats::Safetensors& file_;
  WeightReader weights_;
  std::map<std::string, std::pair<int64_t, int64_t>> linear_layers_;
};

}  // namespace tenon::engine
