#include "worker/engine/model/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>

#include <cmath>
#include <vector>

#include "worker/engine/model/row_inference.h"

namespace tenon::engine {
namespace {

// [T, hidden] -> [rows, heads, length, head_size] of one group.
at::Tensor GroupHeads(const at::Tensor& x, const AttentionGroup& group, int64_t heads) {
  const at::Tensor places = group.first_token >= 0 ? x.narrow(0, group.first_token, group.rows * group.length)
                                                   : x.index_select(0, group.index);
  return places.view({group.rows, group.length, heads, x.size(1) / heads}).transpose(1, 2);
}

at::Tensor PlainAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask,
                          const ForwardHooks& hooks) {
  at::Tensor scores = at::matmul(q, k.transpose(2, 3)) * (1.0 / std::sqrt(static_cast<double>(q.size(3))));
  if (mask.defined()) scores = scores + mask.to(scores.scalar_type());
  at::Tensor probabilities = at::softmax(scores, -1);
  if (hooks.dropout) probabilities = hooks.dropout(probabilities, hooks.attention_dropout);
  return at::matmul(probabilities, v);
}

at::Tensor FusedAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask) {
  std::optional<at::Tensor> bias;
  if (mask.defined()) bias = mask.to(q.scalar_type()).expand({q.size(0), 1, q.size(2), k.size(2)});
  return at::scaled_dot_product_attention(q, k, v, bias);
}

}  // namespace

at::Tensor SelfAttention(const std::array<at::Tensor, 3>& qkv, const PackedBatch& batch, int64_t heads,
                         const ForwardHooks& hooks) {
  const int64_t hidden = qkv[0].size(1);
  std::vector<at::Tensor> contexts;
  for (const AttentionGroup& group : batch.groups) {
    const at::Tensor q = GroupHeads(qkv[0], group, heads);
    const at::Tensor k = GroupHeads(qkv[1], group, heads);
    const at::Tensor v = GroupHeads(qkv[2], group, heads);
    const at::Tensor context =
        hooks.inference ? FusedAttention(q, k, v, group.mask) : PlainAttention(q, k, v, group.mask, hooks);
    contexts.push_back(context.transpose(1, 2).reshape({group.rows * group.length, hidden}));
  }
  const bool in_order =
      contexts.size() == 1 && batch.groups[0].first_token == 0 && contexts[0].size(0) == qkv[0].size(0);
  if (in_order) return contexts[0];
  return (contexts.size() == 1 ? contexts[0] : at::cat(contexts)).index_select(0, batch.restore);
}

at::Tensor FirstTokenAttention(const std::array<at::Tensor, 3>& qkv, const PackedBatch& batch, int64_t heads) {
  const int64_t hidden = qkv[0].size(1);
  const at::Tensor queries = qkv[0].index_select(0, batch.row_order);
  std::vector<at::Tensor> contexts;
  int64_t first_row = 0;
  for (const AttentionGroup& group : batch.groups) {
    const at::Tensor q = queries.narrow(0, first_row, group.rows).view({group.rows, 1, heads, hidden / heads});
    const at::Tensor k = GroupHeads(qkv[1], group, heads);
    const at::Tensor v = GroupHeads(qkv[2], group, heads);
    const at::Tensor context = FusedAttention(q.transpose(1, 2), k, v, group.mask);
    contexts.push_back(context.transpose(1, 2).reshape({group.rows, hidden}));
    first_row += group.rows;
  }
  return at::cat(contexts).index_select(0, batch.row_restore);
}

at::Tensor RowAttention(const std::array<at::Tensor, 3>& qkv, const PackedBatch& batch, int64_t heads) {
  std::vector<AttentionSpan> spans;
  for (int64_t r = 0; r < batch.rows(); ++r) {
    const int64_t first = batch.offsets[r], length = batch.offsets[r + 1] - first;
    spans.push_back({.first_query = first, .queries = length, .first_key = first, .keys = length});
  }
  return SpanAttention(qkv[0], qkv[1], qkv[2], spans, heads);
}

at::Tensor FirstTokenRowAttention(const std::array<at::Tensor, 3>& qkv, const PackedBatch& batch, int64_t heads) {
  std::vector<AttentionSpan> spans;
  for (int64_t r = 0; r < batch.rows(); ++r) {
    const int64_t first = batch.offsets[r];
    spans.push_back({.first_query = r, .queries = 1, .first_key = first, .keys = batch.offsets[r + 1] - first});
  }
  return SpanAttention(qkv[0], qkv[1], qkv[2], spans, heads);
}

}  // namespace tenon::engine
