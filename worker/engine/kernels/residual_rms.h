// Dropout, residual connection and root mean square normalisation (Zhang and Sennrich, 2019) in one pass over each row.
#pragma once

#include <cstdint>

#include "worker/engine/kernels/dropout.h"

namespace tenon::engine::kernels {

// sum = dropout(x) + residual; y = sum * inverse * weight, inverse = 1 / sqrt(mean(sum^2) + eps). All matrices are
// [rows, columns], contiguous.
struct ResidualRms {
  int64_t columns = 0;
  const float* x = nullptr;  // nullptr: the sum is `residual`, and is not written
  const float* residual = nullptr;
  const float* weight = nullptr;  // [columns]
  float eps = 0;
  DropoutMask mask;
  float* sum = nullptr;
  float* y = nullptr;
  float* inverse = nullptr;  // [rows]
};
void RunResidualRms(const ResidualRms& norm, int64_t begin, int64_t end);

// Gradients by `residual` and by `x`, from those by sum and y and what the forward pass left.
struct ResidualRmsGradient {
  int64_t columns = 0;
  const float* sum_grad = nullptr;  // nullptr: zeros
  const float* y_grad = nullptr;
  const float* sum = nullptr;
  const float* inverse = nullptr;
  const float* weight = nullptr;
  DropoutMask mask;
  float* residual_grad = nullptr;
  float* x_grad = nullptr;  // nullptr: not asked for
};
void RunResidualRmsGradient(const ResidualRmsGradient& norm, int64_t begin, int64_t end);

}  // namespace tenon::engine::kernels
