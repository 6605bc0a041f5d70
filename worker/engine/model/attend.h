// Softmax attention over spans of tokens without padding, on the CPU (Vaswani et al., 2017). Free of torch and of
// threads.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace tenon::engine {

// Queries that look at the same keys: a row's own tokens, its first token alone, or another row's tokens.
struct AttentionSpan {
  int64_t first_query = 0, queries = 0;
  int64_t first_key = 0, keys = 0;  // keys > 0
};

// Lines of [heads * head_size] floats, `stride` floats apart, so that a slice of a wider product will do.
struct AttentionLines {
  const float* data = nullptr;
  int64_t stride = 0;
};

// What is added to scores by the distance from a query to a key: as a relative position bias does. `zero` points at
// head 0's number for distance 0; those for keys further on follow it, those for keys before stand before it.
struct DistanceBias {
  const float* zero = nullptr;  // nullptr: nothing is added
  int64_t stride = 0;           // floats from head to head

  const float* At(int64_t head) const { return zero == nullptr ? nullptr : zero + head * stride; }
};

struct AttentionInput {
  AttentionLines q, k, v;
  int64_t heads = 0, head_size = 0;
  float scale = 1;  // of the products of queries and keys
  DistanceBias
      bias;  // for spans whose first query and first key are the same token; 15 numbers behind the last are read
};

// Whether Attend knows this size of head.
bool CanAttend(int64_t head_size);

// Writes softmax(scale * q k^T + bias) v of units [first, last), where unit u is head u % heads of span u / heads; out
// is [queries, heads * head_size] by lines of `out_stride`. A span's result depends on nothing but its own lines.
void Attend(const AttentionInput& input, absl::Span<const AttentionSpan> spans, int64_t first, int64_t last, float* out,
            int64_t out_stride);

}  // namespace tenon::engine
