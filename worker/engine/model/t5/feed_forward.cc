#include "worker/engine/model/t5/feed_forward.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>

#include "worker/engine/model/parallel.h"
#include "worker/engine/model/vector_math.h"

namespace tenon::engine {
namespace {

using vec::Floats;
using vec::kLanes;

// Lines that one thread takes at a time.
constexpr int64_t kGateLines = 4;

TENON_KERNEL void GateLines(const float* x, int64_t lines, int64_t size, float* y) {
  for (int64_t line = 0; line < lines; ++line, x += 2 * size, y += size) {
    for (int64_t i = 0; i < size; i += kLanes) {
      Floats a, b;
      vec::Load(a, x + i);
      vec::Load(b, x + size + i);
      vec::GeluTanh(a);
      vec::Store(y + i, a * b);
    }
  }
}

}  // namespace

at::Tensor GatedGelu(const at::Tensor& x) {
  const int64_t size = x.size(1) / 2;
  if (!x.is_cpu() || x.scalar_type() != at::kFloat || !x.is_contiguous() || size % kLanes != 0) {
    return at::gelu(x.narrow(1, 0, size), "tanh") * x.narrow(1, size, size);
  }
  at::Tensor y = at::empty({x.size(0), size}, x.options());
  const float* from = x.const_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  ParallelFor(x.size(0), kGateLines, [&](int64_t begin, int64_t end) {
    GateLines(from + begin * 2 * size, end - begin, size, to + begin * size);
  });
  return y;
}

at::Tensor FeedForward::operator()(const at::Tensor& x, const at::Tensor& residual, const ForwardHooks& hooks,
                                   Lines lines) const {
  const at::Tensor wide = gated ? GatedGelu(wi(x, hooks, lines)) : wi(x, hooks, lines, Activation::kRelu);
  return wo.Last(wide, residual, hooks, lines);
}

}  // namespace tenon::engine
