// T5's encoder (Raffel et al., 2020). Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/model/packed_batch.h"
#include "worker/engine/model/t5/attention.h"
#include "worker/engine/model/t5/feed_forward.h"
#include "worker/engine/model/t5/reader.h"

namespace tenon::engine {

struct T5EncoderLayer {
  SelfAttentionWeights attention;
  FeedForward feed_forward;
};

class T5Encoder {
 public:
  static absl::StatusOr<T5Encoder> Read(T5Reader& reader, const formats::T5Config& config);

  // Embedded tokens [T, d_model], whose memory it takes, -> their final states, normalised. `own_kernels`: the states
  // are fp32 on the CPU, and the batch needs no groups. For inference.
  at::Tensor operator()(at::Tensor x, const PackedBatch& batch, const ForwardHooks& hooks, bool own_kernels) const;

  std::vector<T5EncoderLayer>& layers() { return layers_; }
  const std::vector<T5EncoderLayer>& layers() const { return layers_; }
  const RelativeBias& bias() const { return bias_; }
  const RmsNorm& final_norm() const { return final_norm_; }
  int64_t Bytes() const;

 private:
  int64_t heads_ = 0;
  std::vector<T5EncoderLayer> layers_;
  RelativeBias bias_;
  RmsNorm final_norm_;
};

}  // namespace tenon::engine
