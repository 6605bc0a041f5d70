#include "worker/engine/kernels/residual_rms.h"

#include <cmath>

#include "worker/engine/kernels/dropout_draws.h"
#include "worker/engine/kernels/vector.h"

namespace tenon::engine::kernels {

TENON_CPU_CLONES
void RunResidualRms(const ResidualRms& norm, int64_t begin, int64_t end) {
  const int64_t columns = norm.columns;
  for (int64_t row = begin; row < end; ++row) {
    const float* sum = norm.residual + row * columns;
    Floats squares{};
    if (norm.x != nullptr) {
      const float* x = norm.x + row * columns;
      const float* residual = sum;
      float* to = norm.sum + row * columns;
      ForColumns(
          norm.mask, row, columns, [&](int64_t c, int64_t count, Floats keep) __attribute__((always_inline)) {
            const Floats value = LoadFirst(x + c, count) * keep + LoadFirst(residual + c, count);
            squares += value * value;
            StoreFirst(to + c, value, count);
          });
      sum = to;
    } else {
      for (int64_t c = 0; c < columns; c += kLanes) {
        const Floats value = LoadFirst(sum + c, columns - c);
        squares += value * value;
      }
    }
    const float mean = Sum(squares) / static_cast<float>(columns);
    // One that overflows would make zeros, which look like a result.
    const float inverse = std::isfinite(mean) ? 1 / std::sqrt(mean + norm.eps) : NAN;
    norm.inverse[row] = inverse;
    float* y = norm.y + row * columns;
    for (int64_t c = 0; c < columns; c += kLanes) {
      const int64_t count = columns - c;
      StoreFirst(y + c, LoadFirst(sum + c, count) * inverse * LoadFirst(norm.weight + c, count), count);
    }
  }
}

TENON_CPU_CLONES
void RunResidualRmsGradient(const ResidualRmsGradient& norm, int64_t begin, int64_t end) {
  const int64_t columns = norm.columns;
  const float share = 1 / static_cast<float>(columns);
  for (int64_t row = begin; row < end; ++row) {
    const float* y_grad = norm.y_grad + row * columns;
    const float* sum_grad = norm.sum_grad == nullptr ? nullptr : norm.sum_grad + row * columns;
    const float* sum = norm.sum + row * columns;
    float* residual_grad = norm.residual_grad + row * columns;
    float* x_grad = norm.x_grad == nullptr ? nullptr : norm.x_grad + row * columns;
    Floats product{};
    for (int64_t c = 0; c < columns; c += kLanes) {
      const int64_t count = columns - c;
      product += LoadFirst(y_grad + c, count) * LoadFirst(norm.weight + c, count) * LoadFirst(sum + c, count);
    }
    const float inverse = norm.inverse[row];
    const float slope = Sum(product) * share * inverse * inverse * inverse;
    ForColumns(
        norm.mask, row, columns, [&](int64_t c, int64_t count, Floats keep) __attribute__((always_inline)) {
          Floats grad = LoadFirst(y_grad + c, count) * LoadFirst(norm.weight + c, count) * inverse -
                        LoadFirst(sum + c, count) * slope;
          if (sum_grad != nullptr) grad += LoadFirst(sum_grad + c, count);
          StoreFirst(residual_grad + c, grad, count);
          if (x_grad != nullptr) StoreFirst(x_grad + c, grad * keep, count);
        });
  }
}

}  // namespace tenon::engine::kernels
