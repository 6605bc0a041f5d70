// Bias and activation in one pass over each row, and their gradient.
#pragma once

#include <cstdint>

#include "worker/engine/kernels/dropout.h"

namespace tenon::engine::kernels {

// gelu is x * Phi(x) (Hendrycks, Gimpel, 2016) with erf by Abramowitz and Stegun 7.1.26 (to 1.5e-7); gelu_tanh its
// approximation by tanh.
enum class Curve { kGelu, kGeluTanh, kRelu };

// y = curve(x + bias) for rows begin .. end - 1 of [rows, columns], contiguous; `bias` [columns] or nullptr.
void RunBiasActivation(Curve curve, const float* x, const float* bias, float* y, int64_t columns, int64_t begin,
                       int64_t end);
// x_grad = y_grad * curve'(x + bias). x_grad may be y_grad.
void RunBiasActivationGradient(Curve curve, const float* x, const float* bias, const float* y_grad, float* x_grad,
                               int64_t columns, int64_t begin, int64_t end);

// y = dropout(gelu_tanh(a) * b) (Shazeer: GLU Variants Improve Transformer, 2020) for rows begin .. end - 1: x
// [rows, 2 * columns] holds a row's a, then its b; y [rows, columns].
void RunGate(const DropoutMask& mask, const float* x, float* y, int64_t columns, int64_t begin, int64_t end);
// x_grad [rows, 2 * columns] from y_grad [rows, columns].
void RunGateGradient(const DropoutMask& mask, const float* x, const float* y_grad, float* x_grad, int64_t columns,
                     int64_t begin, int64_t end);

}  // namespace tenon::engine::kernels
