// The weights of T5's attention. Scores are not scaled: what other models divide them by is in the weights of the
// queries. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "worker/engine/model/joint_linear.h"
#include "worker/engine/model/packed_batch.h"
#include "worker/engine/model/t5/relative_bias.h"
#include "worker/engine/model/t5/rms_norm.h"

namespace tenon::engine {

struct SelfAttentionWeights {
  RmsNorm norm;     // of the sub-layer's input
  JointLinear qkv;  // [lines, d_model] -> [lines, 3 * heads * d_kv]
  JointLinear o;    // [lines, heads * d_kv] -> [lines, d_model]

  int64_t Bytes() const { return norm.Bytes() + qkv.Bytes() + o.Bytes(); }
};

struct CrossAttentionWeights {
  RmsNorm norm;
  JointLinear q;   // of the decoder's lines
  JointLinear kv;  // of the encoder's states: [tokens, d_model] -> [tokens, 2 * heads * d_kv]
  JointLinear o;

  int64_t Bytes() const { return norm.Bytes() + q.Bytes() + kv.Bytes() + o.Bytes(); }
};

// Attention of each row's tokens to each other, with their distances' bias: qkv [T, 3 * heads * d_kv] ->
// [T, heads * d_kv]. By our own kernel where `table` has the distances, else by torch's, on the batch's groups.
at::Tensor AttendRows(const at::Tensor& qkv, const PackedBatch& batch, int64_t heads, const RelativeBias& bias,
                      const BiasTable* table);

}  // namespace tenon::engine
