#include "worker/engine/train/clip.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>

#include <algorithm>

namespace tenon::engine {

std::optional<double> GradientNorm::Slice(const std::vector<Parameter>& parameters) {
  const at::NoGradGuard no_grad;
  const bool through = slices_.Next(parameters, [&](const WeightPart& part) {
    norms_.push_back(at::linalg_vector_norm(part.Of(parameters[part.parameter].grad.contiguous())));
  });
  if (!through) return std::nullopt;
  const double norm = at::linalg_vector_norm(at::stack(norms_)).item<double>();
  norms_.clear();
  return norm;
}

double ClipScale(double norm, double max_norm) {
  // torch adds this 1e-6, and multiplies by 1 when the norm is small enough.
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1;
}

}  // namespace tenon::engine
