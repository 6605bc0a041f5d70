#include "worker/engine/model/layer_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/layer_norm.h>

#include <utility>

#include "worker/engine/model/add_norm.h"
#include "worker/engine/model/parallel.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/model/vector_math.h"

namespace tenon::engine {
namespace {

// Lines that one thread takes at a time.
constexpr int64_t kLines = 64;

bool HasLines(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous() && x.size(1) % vec::kLanes == 0;
}

}  // namespace

LayerNorm::LayerNorm(at::Tensor weight, at::Tensor shift, double eps)
    : weight_(std::move(weight)),
      shift_(std::move(shift)),
      wide_weight_(weight_.to(at::kFloat)),
      wide_shift_(shift_.to(at::kFloat)),
      eps_(eps) {}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  if (HasLines(x)) return AddAndNorm(x, {});
  return at::layer_norm(x, {x.size(1)}, weight_.to(x.scalar_type()), shift_.to(x.scalar_type()), eps_);
}

at::Tensor LayerNorm::AddAndNorm(const at::Tensor& x, const at::Tensor& delta) const {
  if (!defined()) return x.add_(delta);
  if (!HasLines(x) || (delta.defined() && !HasLines(delta))) return (*this)(x.add_(delta));
  const int64_t size = x.size(1);
  at::Tensor y = at::empty_like(x);
  float* from = x.mutable_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  const float* added = delta.defined() ? delta.const_data_ptr<float>() : nullptr;
  const float *w = wide_weight_.const_data_ptr<float>(), *b = wide_shift_.const_data_ptr<float>();
  ParallelFor(x.size(0), kLines, [&](int64_t begin, int64_t end) {
    AddNorm(from + begin * size, added == nullptr ? nullptr : added + begin * size, w, b, static_cast<float>(eps_),
            end - begin, size, to + begin * size);
  });
  return y;
}

int64_t LayerNorm::Bytes() const {
  const int64_t wide = wide_weight_.is_same(weight_) ? 0 : TensorBytes(wide_weight_) + TensorBytes(wide_shift_);
  return TensorBytes(weight_) + TensorBytes(shift_) + wide;
}

}  // namespace tenon::engine
