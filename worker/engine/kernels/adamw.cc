#include "worker/engine/kernels/adamw.h"

#include <cmath>

#include "worker/engine/kernels/vector.h"

namespace tenon::engine::kernels {

TENON_CPU_CLONES
void RunAdamW(const AdamW& adam, const float* grad, float* value, float* first, float* second, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    first[i] += (1 - adam.beta1) * (grad[i] - first[i]);
    second[i] = adam.beta2 * second[i] + (1 - adam.beta2) * grad[i] * grad[i];
    value[i] = adam.keep * value[i] - adam.rate * first[i] / (std::sqrt(second[i]) / adam.correction2 + adam.eps);
  }
}

}  // namespace tenon::engine::kernels
