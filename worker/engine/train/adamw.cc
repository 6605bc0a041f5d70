#include "worker/engine/train/adamw.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "worker/engine/kernels/adamw.h"

namespace tenon::engine {

double ClipGradients(std::vector<Parameter>& parameters, double max_norm) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> norms;
  for (const Parameter& parameter : parameters) norms.push_back(at::linalg_vector_norm(parameter.grad));
  const double norm = at::linalg_vector_norm(at::stack(norms)).item<double>();
  // torch adds this 1e-6, and multiplies by 1 when the norm is small enough.
  const double scale = max_norm > 0 ? max_norm / (norm + 1e-6) : 1;
  if (scale < 1) {
    for (Parameter& parameter : parameters) parameter.grad.mul_(scale);
  }
  return norm;
}

AdamW::AdamW(const std::vector<Parameter>& parameters, const Options& options) : options_(options) {
  const at::NoGradGuard no_grad;
  for (const Parameter& parameter : parameters) {
    moments_.push_back({at::zeros_like(parameter.value), at::zeros_like(parameter.value)});
  }
}

void AdamW::Step(std::vector<Parameter>& parameters, double learning_rate, int64_t step) {
  const at::NoGradGuard no_grad;
  const auto t = static_cast<double>(step);
  const double correction1 = 1 - std::pow(options_.beta1, t);
  const double correction2 = std::sqrt(1 - std::pow(options_.beta2, t));
  for (size_t i = 0; i < parameters.size(); ++i) {
    Parameter& parameter = parameters[i];
    at::Tensor& first = moments_[i].first;
    at::Tensor& second = moments_[i].second;
    const double keep = parameter.decay ? 1 - learning_rate * options_.weight_decay : 1;
    if (parameter.value.is_cpu()) {
      const kernels::AdamW adam{static_cast<float>(options_.beta1),
                                static_cast<float>(options_.beta2),
                                static_cast<float>(options_.eps),
                                static_cast<float>(keep),
                                static_cast<float>(learning_rate / correction1),
                                static_cast<float>(correction2)};
      kernels::RunAdamW(adam, parameter.grad.contiguous().const_data_ptr<float>(),
                        parameter.value.mutable_data_ptr<float>(), first.mutable_data_ptr<float>(),
                        second.mutable_data_ptr<float>(), parameter.value.numel());
      continue;
    }
    if (keep < 1) {
      parameter.value.mul_(keep);
    }
    first.lerp_(parameter.grad, 1 - options_.beta1);
    second.mul_(options_.beta2).addcmul_(parameter.grad, parameter.grad, 1 - options_.beta2);
    const at::Tensor denominator = second.sqrt().div_(correction2).add_(options_.eps);
    parameter.value.addcdiv_(first, denominator, -learning_rate / correction1);
  }
}

}  // namespace tenon::engine
