// Rows of tokens without padding: engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace tenon::engine {

// Rows of similar length that attend in one call, each padded to the longest of them.
struct AttentionGroup {
  int64_t rows = 0, length = 0;
  // >= 0: rows of equal length, one behind the other from this token on, so that a view does; index and mask are
  // undefined.
  int64_t first_token = -1;
  at::Tensor index;  // [rows * length] int64: the token of each place; places behind a row's end repeat its last token
  at::Tensor
      mask;  // [rows, 1, 1, length] fp32: 0, or -inf behind a row's end; undefined when all rows are equally long
};

// R rows of T tokens in all, one behind the other. Linear layers, norms and activations work on [T, hidden] and never
// see padding; attention alone looks at row borders.
//
// T may be rounded up (Pack's `round_to`): the tokens behind the last row belong to none, and what is computed for them
// means nothing.
struct PackedBatch {
  at::Tensor ids;                // [T] int64
  at::Tensor positions;          // [T] int64, from 0 in each row
  at::Tensor types;              // [T] int64, 0 or 1; undefined where all are 0
  std::vector<int64_t> offsets;  // [R + 1], offsets[r] is the first token of row r, offsets[R] the tokens of all rows
  at::Tensor first;              // [R] int64: each row's first token; rounded up like T, by row 0's
  std::vector<AttentionGroup> groups;
  // Undefined, like `groups`, in a batch packed without groups.
  at::Tensor restore;      // [T] int64: a token's place when the groups' places are put one behind the other
  at::Tensor row_order;    // [R] int64: rows as the groups have them, one group behind the other
  at::Tensor row_restore;  // as long as `first`: a row's place in `row_order`

  int64_t rows() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t tokens() const { return offsets.back(); }
  int64_t max_length() const;
};

// Rows in the order given, none of them empty. What it makes depends on the rows' lengths alone, so that training
// repeats itself. Fewer different T mean fewer kernels to compile: inference rounds, training does not.
// Kernels that take rows one by one need no groups. `virtual_tokens`, when not empty, says for each row how many tokens
// stand in front of it whose embeddings come from elsewhere (ForwardHooks::prompts): their id and type are 0 here.
// `second_types`, when not empty, says for each row from which of its ids on tokens are of type 1 (Encoding).
PackedBatch Pack(absl::Span<const std::vector<int32_t>* const> rows, const at::Device& device, int64_t round_to = 1,
                 bool grouped = true, absl::Span<const int64_t> virtual_tokens = {},
                 absl::Span<const int64_t> second_types = {});

}  // namespace tenon::engine
