#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>

#include <vector>

#include "worker/engine/model/encoder.h"

namespace tenon::engine {
namespace {

at::Tensor PoolRow(const at::Tensor& tokens, formats::Pooling pooling) {
  switch (pooling) {
    case formats::Pooling::kCls:
      return tokens.select(0, 0).to(at::kFloat);
    case formats::Pooling::kMax:
      return tokens.to(at::kFloat).amax({0});
    case formats::Pooling::kMean:
      break;
  }
  return tokens.mean({0}, /*keepdim=*/false, at::kFloat);
}

}  // namespace

at::Tensor FirstTokens(const at::Tensor& x, const PackedBatch& batch) { return x.index_select(0, batch.first); }

at::Tensor Picked(const at::Tensor& x, const PackedBatch& batch, Lines lines) {
  return lines == Lines::kRows ? FirstTokens(x, batch) : x;
}

at::Tensor PoolSentences(const at::Tensor& x, const PackedBatch& batch, formats::Pooling pooling, bool normalize,
                         const Linear& projection) {
  std::vector<at::Tensor> vectors;
  vectors.reserve(static_cast<size_t>(batch.rows()));
  for (int64_t r = 0; r < batch.rows(); ++r) {
    vectors.push_back(PoolRow(x.narrow(0, batch.offsets[r], batch.offsets[r + 1] - batch.offsets[r]), pooling));
  }
  at::Tensor pooled = at::stack(vectors);
  if (projection.defined()) pooled = projection(pooled);
  if (normalize) pooled = pooled / pooled.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
  return pooled;
}

}  // namespace tenon::engine
