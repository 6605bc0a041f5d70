#include "worker/engine/model/t5/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <vector>

#include "worker/engine/model/attend.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {
namespace {

at::Tensor AttendSpans(const at::Tensor& qkv, const PackedBatch& batch, int64_t heads, const BiasTable& table) {
  const int64_t width = qkv.size(1) / 3;
  const float* data = qkv.const_data_ptr<float>();
  AttentionInput input;
  input.q = {data, qkv.stride(0)};
  input.k = {data + width, qkv.stride(0)};
  input.v = {data + 2 * width, qkv.stride(0)};
  input.heads = heads;
  input.head_size = width / heads;
  input.bias = table.view();
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

at::Tensor AttendRows(const at::Tensor& qkv, const PackedBatch& batch, int64_t heads, const RelativeBias& bias,
                      const BiasTable* table) {
  if (table != nullptr) return AttendSpans(qkv, batch, heads, *table);
  const int64_t width = qkv.size(1) / 3;
  std::vector<at::Tensor> contexts;
  for (const AttentionGroup& group : batch.groups) {
    const int64_t tokens = group.rows * group.length;
    const at::Tensor lines =
        group.first_token >= 0 ? qkv.narrow(0, group.first_token, tokens) : qkv.index_select(0, group.index);
    const std::vector<at::Tensor> parts =
        lines.view({group.rows, group.length, 3, heads, width / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
    at::Tensor added = bias.Square(group.length).unsqueeze(0);
    if (group.mask.defined()) added = added + group.mask;
    added = added.to(qkv.scalar_type()).expand({group.rows, heads, group.length, group.length});
    const at::Tensor context = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], added, /*dropout_p=*/0.0,
                                                                /*is_causal=*/false, /*scale=*/1.0);
    contexts.push_back(context.transpose(1, 2).reshape({tokens, width}));
  }
  return at::cat(contexts).index_select(0, batch.restore);
}

}  // namespace tenon::engine
