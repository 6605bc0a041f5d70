#include "worker/engine/kernels/residual_norm.h"

#include <cmath>

#include "worker/engine/kernels/dropout_draws.h"
#include "worker/engine/kernels/vector.h"

namespace tenon::engine::kernels {
TENON_CPU_CLONES
void RunResidualNorm(const ResidualNorm& norm, int64_t begin, int64_t end) {
  const int64_t columns = norm.columns;
  for (int64_t row = begin; row < end; ++row) {
    const float* x = norm.x + row * columns;
    const float* residual = norm.residual + row * columns;
    float* normalized = norm.normalized + row * columns;
    float* y = norm.y + row * columns;
    Floats sum{};
    ForColumns(
        norm.mask, row, columns, [&](int64_t c, int64_t count, Floats keep) __attribute__((always_inline)) {
          Floats value = LoadFirst(x + c, count);
          if (norm.bias != nullptr) value += LoadFirst(norm.bias + c, count);
          value = value * keep + LoadFirst(residual + c, count);
          sum += value;
          StoreFirst(normalized + c, value, count);
        });
    const float mean = Sum(sum) / static_cast<float>(columns);
    Floats squares{};
    for (int64_t c = 0; c < columns; c += kLanes) {
      const Floats centred = KeepFirst(LoadFirst(normalized + c, columns - c) - mean, columns - c);
      squares += centred * centred;
    }
    const float variance = Sum(squares) / static_cast<float>(columns);
    // One that overflows would make zeros, which look like a result.
    const float inverse = std::isfinite(variance) ? 1 / std::sqrt(variance + norm.eps) : NAN;
    norm.inverse_deviation[row] = inverse;
    for (int64_t c = 0; c < columns; c += kLanes) {
      const int64_t count = columns - c;
      const Floats value = (LoadFirst(normalized + c, count) - mean) * inverse;
      StoreFirst(normalized + c, value, count);
      StoreFirst(y + c, value * LoadFirst(norm.weight + c, count) + LoadFirst(norm.shift + c, count), count);
    }
  }
}

TENON_CPU_CLONES
void RunResidualNormGradient(const ResidualNormGradient& norm, int64_t begin, int64_t end) {
  const int64_t columns = norm.columns;
  const float share = 1 / static_cast<float>(columns);
  for (int64_t row = begin; row < end; ++row) {
    const float* y_grad = norm.y_grad + row * columns;
    const float* normalized = norm.normalized + row * columns;
    float* residual_grad = norm.residual_grad + row * columns;
    float* x_grad = norm.x_grad + row * columns;
    Floats sum{}, product{};
    for (int64_t c = 0; c < columns; c += kLanes) {
      const Floats grad = LoadFirst(y_grad + c, columns - c) * LoadFirst(norm.weight + c, columns - c);
      sum += grad;
      product += grad * LoadFirst(normalized + c, columns - c);
    }
    const float mean = Sum(sum) * share, slope = Sum(product) * share;
    const float inverse = norm.inverse_deviation[row];
    ForColumns(
        norm.mask, row, columns, [&](int64_t c, int64_t count, Floats keep) __attribute__((always_inline)) {
          const Floats grad = LoadFirst(y_grad + c, count) * LoadFirst(norm.weight + c, count);
          const Floats of_sum = (grad - mean - LoadFirst(normalized + c, count) * slope) * inverse;
          StoreFirst(residual_grad + c, of_sum, count);
          StoreFirst(x_grad + c, of_sum * keep, count);
        });
  }
}

}  // namespace tenon::engine::kernels
