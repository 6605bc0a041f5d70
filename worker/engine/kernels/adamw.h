// One AdamW update (Loshchilov and Hutter, 2019) in one pass.
#pragma once

#include <cstdint>

namespace tenon::engine::kernels {

struct AdamW {
  float beta1, beta2, eps;
  float keep;         // what weight decay leaves of a value: 1 - rate * decay
  float rate;         // learning rate / (1 - beta1^t)
  float correction2;  // sqrt(1 - beta2^t)
};

// Updates `count` values and both moments.
void RunAdamW(const AdamW& adam, const float* grad, float* value, float* first, float* second, int64_t count);

}  // namespace tenon::engine::kernels
