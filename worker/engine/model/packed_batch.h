// Rows of tokens without padding: engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace tenon::engine {

// R rows of T tokens in all, one behind the other. Linear layers, norms and activations work on [T, hidden] and never see padding;
// attention alone looks at row borders.
struct PackedBatch {
  at::Tensor ids;                // [T] int64
  at::Tensor positions;          // [T] int64, from 0 in each row
  std::vector<int64_t> offsets;  // [R + 1], offsets[r] is the first token of row r, offsets[R] = T

  int64_t rows() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t tokens() const { return offsets.back(); }
  int64_t max_length() const;
};

PackedBatch Pack(absl::Span<const std::vector<int32_t>* const> rows, const at::Device& device);

}  // namespace tenon::engine
