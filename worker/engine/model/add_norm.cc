#include "worker/engine/model/add_norm.h"

#include <cmath>

#include "worker/engine/model/vector_math.h"

namespace tenon::engine {

using vec::Floats;
using vec::kLanes;

TENON_KERNEL void AddNorm(float* x, const float* residual, const float* weight, const float* bias, float eps,
                          int64_t lines, int64_t size, float* out) {
  for (int64_t line = 0; line < lines; ++line, x += size, out += size) {
    Floats total = {};
    for (int64_t i = 0; i < size; i += kLanes) {
      Floats a;
      vec::Load(a, x + i);
      if (residual != nullptr) {
        Floats b;
        vec::Load(b, residual + line * size + i);
        a += b;
        vec::Store(x + i, a);
      }
      total += a;
    }
    const float mean = vec::Sum(total) / static_cast<float>(size);
    // A second look for the variance: a line is in the first cache, and a difference of squares would lose digits.
    Floats squares = {};
    for (int64_t i = 0; i < size; i += kLanes) {
      Floats a;
      vec::Load(a, x + i);
      a -= mean;
      squares += a * a;
    }
    const float variance = vec::Sum(squares) / static_cast<float>(size);
    // One that overflows would make zeros, which look like a result.
    const float scale = std::isfinite(variance) ? 1 / std::sqrt(variance + eps) : NAN;
    for (int64_t i = 0; i < size; i += kLanes) {
      Floats a, w, b;
      vec::Load(a, x + i);
      vec::Load(w, weight + i);
      vec::Load(b, bias + i);
      vec::Store(out + i, (a - mean) * scale * w + b);
    }
  }
}

void AddNorm(float* x, const float* residual, const float* weight, const float* bias, float eps, int64_t lines,
             int64_t size) {
  AddNorm(x, residual, weight, bias, eps, lines, size, x);
}

}  // namespace tenon::engine
