#include "worker/engine/train/adamw.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "worker/engine/kernels/adamw.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {
namespace {

// Every adapter's update is one slice; a large model's is cut into parts of some milliseconds.
constexpr int64_t kSliceElements = int64_t{1} << 22;
constexpr int64_t kThreadElements = int64_t{1} << 16;  // that are worth a thread

}  // namespace

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
  while (!StepSlice(parameters, learning_rate, step)) {
  }
}

bool AdamW::StepSlice(std::vector<Parameter>& parameters, double learning_rate, int64_t step) {
  const at::NoGradGuard no_grad;
  for (int64_t left = kSliceElements; left > 0 && next_.parameter < parameters.size();) {
    Parameter& parameter = parameters[next_.parameter];
    const int64_t size = parameter.value.numel();
    const int64_t count = std::min(left, size - next_.element);
    Update(parameter, moments_[next_.parameter], next_.element, count, learning_rate, step);
    left -= count;
    next_.element += count;
    if (next_.element == size) next_ = {next_.parameter + 1, 0};
  }
  if (next_.parameter < parameters.size()) return false;
  next_ = {};
  return true;
}

void AdamW::Update(Parameter& parameter, Moments& moments, int64_t first, int64_t count, double learning_rate,
                   int64_t step) {
  const auto t = static_cast<double>(step);
  const double correction1 = 1 - std::pow(options_.beta1, t);
  const double correction2 = std::sqrt(1 - std::pow(options_.beta2, t));
  const double keep = parameter.decay ? 1 - learning_rate * options_.weight_decay : 1;
  const auto part = [&](const at::Tensor& whole) { return whole.detach().view(-1).narrow(0, first, count); };
  at::Tensor value = part(parameter.value), m = part(moments.first), v = part(moments.second);
  const at::Tensor grad = part(parameter.grad.contiguous());
  if (value.is_cpu()) {
    const kernels::AdamW adam{static_cast<float>(options_.beta1),
                              static_cast<float>(options_.beta2),
                              static_cast<float>(options_.eps),
                              static_cast<float>(keep),
                              static_cast<float>(learning_rate / correction1),
                              static_cast<float>(correction2)};
    const float* from = grad.const_data_ptr<float>();
    float *to = value.mutable_data_ptr<float>(), *one = m.mutable_data_ptr<float>(), *two = v.mutable_data_ptr<float>();
    ParallelFor(count, kThreadElements, [&](int64_t begin, int64_t end) {
      kernels::RunAdamW(adam, from + begin, to + begin, one + begin, two + begin, end - begin);
    });
    return;
  }
  if (keep < 1) value.mul_(keep);
  m.lerp_(grad, 1 - options_.beta1);
  v.mul_(options_.beta2).addcmul_(grad, grad, 1 - options_.beta2);
  const at::Tensor denominator = v.sqrt().div_(correction2).add_(options_.eps);
  value.addcdiv_(m, denominator, -learning_rate / correction1);
}

}  // namespace tenon::engine
