#include "worker/engine/model/bart/post_norm.h"

#include <ATen/ops/layer_norm.h>

#include <utility>

#include "worker/engine/model/row_inference.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/model/vector_math.h"

namespace tenon::engine {

PostNorm::PostNorm(FrozenNorm norm)
    : norm_(std::move(norm)), wide_{norm_.weight.to(at::kFloat), norm_.shift.to(at::kFloat), norm_.eps} {}

at::Tensor PostNorm::operator()(const at::Tensor& x, const at::Tensor& residual) const {
  const bool by_lines = x.is_cpu() && x.scalar_type() == at::kFloat && x.size(1) % vec::kLanes == 0;
  if (by_lines && x.is_contiguous() && residual.is_contiguous()) {
    AddNorm(x, residual, wide_.weight, wide_.shift, wide_.eps);
    return x;
  }
  return at::layer_norm(x.add_(residual), {x.size(1)}, norm_.weight, norm_.shift, norm_.eps);
}

int64_t PostNorm::Bytes() const {
  const bool shared = wide_.weight.is_same(norm_.weight);
  return TensorBytes(norm_.weight) + TensorBytes(norm_.shift) +
         (shared ? 0 : TensorBytes(wide_.weight) + TensorBytes(wide_.shift));
}

}  // namespace tenon::engine
