// Attention of ragged rows without padding, with gradients written out. On the CPU, in fp32. Results do not depend on
// the number of threads. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/kernels/dropout.h"

namespace tenon::engine {

// Multi-head self-attention of ragged rows: queries, keys and values side by side [T, 3 * hidden] -> [T, hidden].
// `offsets` [R + 1] are the rows' borders. `bias` [3 * hidden], added to qkv, may be undefined and is frozen. `mask` is
// for the probabilities, which are scaled by 1 / sqrt(head size) before the softmax.
at::Tensor RaggedAttention(const at::Tensor& qkv, const at::Tensor& bias, const std::vector<int64_t>& offsets,
                           int64_t heads, const kernels::DropoutMask& mask);

// Numbers that self-attention adds to scores by how far behind the query the key stands. They get a gradient where they
// ask for one.
struct DistanceTable {
  at::Tensor numbers;  // [heads, columns] fp32, kernels::kSpareDistances columns behind the last distance
  int64_t zero = 0;    // the column of distance 0
};

// The same with such numbers and scores that are not scaled. `causal`: a token sees those up to itself alone.
at::Tensor DistanceAttention(const at::Tensor& qkv, const std::vector<int64_t>& offsets, int64_t heads,
                             const DistanceTable& distances, bool causal, const kernels::DropoutMask& mask);

// Each row's queries to another row's tokens, scores not scaled: q [T, hidden], keys and values side by side
// [S, 2 * hidden] -> [T, hidden]. `source_offsets` are the borders of the S.
at::Tensor SourceAttention(const at::Tensor& q, const at::Tensor& kv, const std::vector<int64_t>& offsets,
                           const std::vector<int64_t>& source_offsets, int64_t heads, const kernels::DropoutMask& mask);

}  // namespace tenon::engine
