#include "worker/engine/model/causal/causal_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "worker/engine/model/attend.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {
namespace {

// A table of distances, the same for all heads, that lets nothing through which comes behind a query.
std::vector<float> NothingBehind(int64_t length) {
  constexpr int64_t kReadBeyond = 16;
  std::vector<float> table(static_cast<size_t>(2 * length + kReadBeyond), 0.0f);
  std::fill(table.begin() + length, table.end(), -std::numeric_limits<float>::infinity());
  return table;
}

at::Tensor AttendSpans(const at::Tensor& qkv, const PackedBatch& batch, int64_t heads) {
  const int64_t width = qkv.size(1) / 3, longest = batch.max_length();
  const std::vector<float> table = NothingBehind(longest);
  const float* data = qkv.const_data_ptr<float>();
  AttentionInput input;
  input.q = {data, qkv.stride(0)};
  input.k = {data + width, qkv.stride(0)};
  input.v = {data + 2 * width, qkv.stride(0)};
  input.heads = heads;
  input.head_size = width / heads;
  input.bias = {.zero = table.data() + longest - 1, .stride = 0};
  std::vector<AttentionSpan> spans;
  for (int64_t r = 0; r < batch.rows(); ++r) {
    const int64_t first = batch.offsets[r], length = batch.offsets[r + 1] - first;
    spans.push_back({.first_query = first, .queries = length, .first_key = first, .keys = length});
  }
  at::Tensor out = at::empty({qkv.size(0), width}, qkv.options());
  float* to = out.mutable_data_ptr<float>();
  ParallelFor(static_cast<int64_t>(spans.size()) * heads, 1,
              [&](int64_t begin, int64_t end) { Attend(input, spans, begin, end, to, width); });
  return out;
}

}  // namespace

at::Tensor CausalAttention(const at::Tensor& qkv, const PackedBatch& batch, int64_t heads, bool own_kernels) {
  if (own_kernels) return AttendSpans(qkv, batch, heads);
  const int64_t width = qkv.size(1) / 3;
  std::vector<at::Tensor> contexts;
  for (const AttentionGroup& group : batch.groups) {
    const int64_t tokens = group.rows * group.length;
    const at::Tensor lines =
        group.first_token >= 0 ? qkv.narrow(0, group.first_token, tokens) : qkv.index_select(0, group.index);
    const std::vector<at::Tensor> parts =
        lines.view({group.rows, group.length, 3, heads, width / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
    // What is behind a row's end is behind all of its tokens: no other mask is needed.
    const at::Tensor context = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], std::nullopt,
                                                                /*dropout_p=*/0.0, /*is_causal=*/true, /*scale=*/1.0);
    contexts.push_back(context.transpose(1, 2).reshape({tokens, width}));
  }
  return at::cat(contexts).index_select(0, batch.restore);
}

}  // namespace tenon::engine
