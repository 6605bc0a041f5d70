#include "worker/engine/train/adamw.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "worker/engine/kernels/adamw.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {
namespace {

constexpr int64_t kThreadElements = int64_t{1} << 16;  // that are worth a thread

}  // namespace

AdamW::AdamW(const std::vector<Parameter>& parameters, const Options& options) : options_(options) {
  const at::NoGradGuard no_grad;
  for (const Parameter& parameter : parameters) {
    moments_.push_back({at::zeros_like(parameter.value), at::zeros_like(parameter.value)});
  }
}

void AdamW::Step(std::vector<Parameter>& parameters, const Update& update) {
  while (!StepSlice(parameters, update)) {
  }
}

bool AdamW::StepSlice(std::vector<Parameter>& parameters, const Update& update) {
  const at::NoGradGuard no_grad;
  return slices_.Next(parameters,
                      [&](const WeightPart& part) { UpdatePart(parameters[part.parameter], part, update); });
}

void AdamW::UpdatePart(const Parameter& parameter, const WeightPart& part, const Update& update) {
  const auto t = static_cast<double>(update.step);
  const double learning_rate = update.learning_rate;
  const double correction1 = 1 - std::pow(options_.beta1, t);
  const double correction2 = std::sqrt(1 - std::pow(options_.beta2, t));
  const double keep = parameter.decay ? 1 - learning_rate * options_.weight_decay : 1;
  const Moments& moments = moments_[part.parameter];
  at::Tensor value = part.Of(parameter.value), m = part.Of(moments.first), v = part.Of(moments.second);
  at::Tensor grad = part.Of(parameter.grad.contiguous());
  if (update.gradient_scale < 1) grad.mul_(update.gradient_scale);
  if (value.is_cpu()) {
    const kernels::AdamW adam{static_cast<float>(options_.beta1),
                              static_cast<float>(options_.beta2),
                              static_cast<float>(options_.eps),
                              static_cast<float>(keep),
                              static_cast<float>(learning_rate / correction1),
                              static_cast<float>(correction2)};
    const float* from = grad.const_data_ptr<float>();
    float *to = value.mutable_data_ptr<float>(), *one = m.mutable_data_ptr<float>(), *two = v.mutable_data_ptr<float>();
    ParallelFor(part.count, kThreadElements, [&](int64_t begin, int64_t end) {
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
