// Multi-head self-attention over packed rows (Vaswani et al., 2017). Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "worker/engine/model/encoder.h"
#include "worker/engine/model/packed_batch.h"

namespace tenon::engine {

// Queries, keys and values of all heads, each [T, hidden] and possibly a view; a row attends to its own tokens alone.
// Returns [T, hidden]. In inference one fused call for each group of rows; in training plain operators, so that
// autograd works and the mask over the probabilities is drawn from the job's own stream.
at::Tensor SelfAttention(const std::array<at::Tensor, 3>& qkv, const PackedBatch& batch, int64_t heads,
                         const ForwardHooks& hooks);

// The same in inference for the queries of each row's first token alone: q [R, hidden], R rounded like `batch.first`;
// k and v [T, hidden]. Returns [R, hidden].
at::Tensor FirstTokenAttention(const std::array<at::Tensor, 3>& qkv, const PackedBatch& batch, int64_t heads);

// Both without groups, by our own kernel, for inference on the CPU in fp32 where CanAttend(head size).
at::Tensor RowAttention(const std::array<at::Tensor, 3>& qkv, const PackedBatch& batch, int64_t heads);
at::Tensor FirstTokenRowAttention(const std::array<at::Tensor, 3>& qkv, const PackedBatch& batch, int64_t heads);

}  // namespace tenon::engine
