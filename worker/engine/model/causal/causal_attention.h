// Attention of prompts' tokens, each to those of its row up to itself. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "worker/engine/model/packed_batch.h"

namespace tenon::engine {

// qkv [T, 3 * hidden], queries scaled -> [T, hidden]. By our own kernel, which takes fp32 on the CPU, or by torch's on
// the batch's groups.
at::Tensor CausalAttention(const at::Tensor& qkv, const PackedBatch& batch, int64_t heads, bool own_kernels);

}  // namespace tenon::engine
