// BART's parts out of a Hugging Face checkpoint, each checked. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/bart_config.h"
#include "worker/engine/model/bart/post_norm.h"
#include "worker/engine/model/joint_linear.h"
#include "worker/engine/model/weights.h"

namespace tenon::engine {

struct BartDecoderLayer {
  JointLinear qkv;               // [lines, d_model] -> [lines, 3 * d_model]
  JointLinear attention_output;  // d_model to d_model
  PostNorm attention_norm;
  JointLinear source_q;       // of the decoder's lines
  JointLinear source_kv;      // of the encoder's states: [tokens, d_model] -> [tokens, 2 * d_model]
  JointLinear source_output;  // d_model to d_model
  PostNorm source_norm;
  JointLinear intermediate, output;  // d_model to ffn_dim, and back
  PostNorm output_norm;

  int64_t Bytes() const;
};

// Errors are BASE_INVALID and name the tensor.
class BartReader {
 public:
  BartReader(const formats::BartConfig& config, const formats::Safetensors& file, at::Device device,
             at::ScalarType type);

  // [vocab, d_model]. A file may have it under any of the names it goes by.
  absl::StatusOr<at::Tensor> Embedding();
  // [positions, d_model], from a line's first token on.
  absl::StatusOr<at::Tensor> DecoderPositions();
  absl::StatusOr<PostNorm> DecoderNorm();
  absl::StatusOr<BartDecoderLayer> Layer(int64_t index);
  // [vocab, d_model]: lm_head.weight where the file has it, whatever the configuration says, as transformers 5 does;
  // else the embedding.
  absl::StatusOr<at::Tensor> OutputLayer(const at::Tensor& embedding);
  // What is added to logits, [vocab] fp32; undefined where it is nothing, as in most.
  absl::StatusOr<at::Tensor> OutputBias();

  // The rest of the file is the encoder's.
  WeightReader& weights() { return weights_; }
  // When a tensor of the network is left over: then config.json tells of another one.
  absl::Status CheckAllTaken() const;
  // Names, without the prefix, and [out, in] of the linear layers that were read here.
  const std::map<std::string, std::pair<int64_t, int64_t>>& linear_layers() const { return linear_layers_; }

 private:
  bool Has(const std::string& full_name) const { return file_.Find(full_name) != nullptr; }
  absl::StatusOr<PostNorm> Norm(const std::string& name);
  absl::StatusOr<JointLinear> Linears(const std::vector<std::string>& modules, int64_t in, int64_t out);

  const formats::BartConfig& config_;
  const formats::Safetensors& file_;
  const std::string prefix_;
  WeightReader weights_;
  std::map<std::string, std::pair<int64_t, int64_t>> linear_layers_;
};

}  // namespace tenon::engine
