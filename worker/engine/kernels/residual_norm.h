// Dropout, residual connection and layer normalisation (Ba, Kiros, Hinton, 2016) in one pass over each row.
#pragma once

#include <cstdint>

#include "worker/engine/kernels/dropout.h"

namespace tenon::engine::kernels {

// y = normalized * weight + shift, normalized = (s - mean(s)) / sqrt(var(s) + eps), s = dropout(x + bias) + residual.
// All matrices are [rows, columns], contiguous.
struct ResidualNorm {
  int64_t columns = 0;
  const float* x = nullptr;
  const float* bias = nullptr;  // [columns], or nullptr
  const float* residual = nullptr;
  const float* weight = nullptr;  // [columns]
  const float* shift = nullptr;   // [columns]
  float eps = 0;
  DropoutMask mask;
  float* y = nullptr;
  float* normalized = nullptr;
  float* inverse_deviation = nullptr;  // [rows]
};
void RunResidualNorm(const ResidualNorm& norm, int64_t begin, int64_t end);

// Gradients by `residual` and by `x`, from the one by y and what the forward pass left.
struct ResidualNormGradient {
  int64_t columns = 0;
  const float* y_grad = nullptr;
  const float* normalized = nullptr;
  const float* inverse_deviation = nullptr;
  const float* weight = nullptr;
  DropoutMask mask;
  float* residual_grad = nullptr;
  float* x_grad = nullptr;
};
void RunResidualNormGradient(const ResidualNormGradient& norm, int64_t begin, int64_t end);

}  // namespace tenon::engine::kernels
