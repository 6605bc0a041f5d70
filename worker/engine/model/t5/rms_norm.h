// T5's layer norm: a root mean square without a mean or a shift (Zhang and Sennrich, 2019). Engine-internal, torch
// inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

#include "worker/engine/model/fused_rms.h"

namespace tenon::engine {

class RmsNorm {
 public:
  RmsNorm() = default;
  // weight [size].
  RmsNorm(at::Tensor weight, double eps) : weight_(std::move(weight)), wide_(weight_.to(at::kFloat)), eps_(eps) {}

  // x / sqrt(mean(x^2) + eps) * weight: [lines, size] -> the same. Sums are fp32. A line whose squares overflow becomes
  // NaN: the zeros that it would be would look like a result.
  at::Tensor operator()(const at::Tensor& x) const;
  // x <- x + delta in x's memory, then its norm: what stands between two sub-layers.
  at::Tensor AddAndNorm(const at::Tensor& x, const at::Tensor& delta) const;

  // The same by plain operators, which autograd follows.
  at::Tensor Plain(const at::Tensor& x) const;
  // For fused functions.
  Rms fused() const { return {wide_, eps_}; }
  const at::Tensor& weight() const { return weight_; }

  int64_t Bytes() const;

 private:
  at::Tensor weight_, wide_;  // the latter in fp32, for our own kernel
  double eps_ = 1e-6;
};

}  // namespace tenon::engine
