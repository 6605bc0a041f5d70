#include "worker/engine/model/t5/rms_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rsqrt.h>

#include <cmath>

#include "worker/engine/model/parallel.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/model/vector_math.h"

namespace tenon::engine {
namespace {

using vec::Floats;
using vec::kLanes;

// Lines that one thread takes at a time.
constexpr int64_t kNormLines = 64;

TENON_KERNEL void NormLines(float* x, const float* delta, const float* weight, float eps, int64_t lines, int64_t size,
                            float* out) {
  for (int64_t line = 0; line < lines; ++line, x += size, out += size) {
    Floats squares = {};
    for (int64_t i = 0; i < size; i += kLanes) {
      Floats a;
      vec::Load(a, x + i);
      if (delta != nullptr) {
        Floats b;
        vec::Load(b, delta + line * size + i);
        a += b;
        vec::Store(x + i, a);
      }
      squares += a * a;
    }
    const float mean = vec::Sum(squares) / static_cast<float>(size);
    const float scale = std::isfinite(mean) ? 1 / std::sqrt(mean + eps) : NAN;
    for (int64_t i = 0; i < size; i += kLanes) {
      Floats a, w;
      vec::Load(a, x + i);
      vec::Load(w, weight + i);
      vec::Store(out + i, a * scale * w);
    }
  }
}

bool HasLines(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous() && x.size(1) % kLanes == 0;
}

at::Tensor FastNorm(const at::Tensor& x, const float* delta, const at::Tensor& weight, double eps) {
  const int64_t size = x.size(1);
  at::Tensor y = at::empty_like(x);
  float* from = x.mutable_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  const float* w = weight.const_data_ptr<float>();
  ParallelFor(x.size(0), kNormLines, [&](int64_t begin, int64_t end) {
    NormLines(from + begin * size, delta == nullptr ? nullptr : delta + begin * size, w, static_cast<float>(eps),
              end - begin, size, to + begin * size);
  });
  return y;
}

}  // namespace

at::Tensor RmsNorm::operator()(const at::Tensor& x) const {
  return HasLines(x) ? FastNorm(x, nullptr, wide_, eps_) : Plain(x);
}

at::Tensor RmsNorm::Plain(const at::Tensor& x) const {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor mean = (wide * wide).mean(-1, /*keepdim=*/true) + eps_;
  // Less itself it is 0, or NaN.
  return weight_ * (wide * (at::rsqrt(mean) + (mean - mean))).to(x.scalar_type());
}

at::Tensor RmsNorm::AddAndNorm(const at::Tensor& x, const at::Tensor& delta) const {
  if (HasLines(x) && HasLines(delta)) return FastNorm(x, delta.const_data_ptr<float>(), wide_, eps_);
  return (*this)(x.add_(delta));
}

int64_t RmsNorm::Bytes() const { return TensorBytes(weight_) + (wide_.is_same(weight_) ? 0 : TensorBytes(wide_)); }

}  // namespace tenon::engine
