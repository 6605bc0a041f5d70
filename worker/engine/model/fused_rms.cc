#include "worker/engine/model/fused_rms.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include "worker/engine/kernels/activation.h"
#include "worker/engine/kernels/residual_rms.h"
#include "worker/engine/model/floats.h"
#include "worker/engine/model/kept.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {
namespace {

using kernels::DropoutMask;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct RmsSaved {
  at::Tensor sum, inverse, weight;
  DropoutMask mask;
};

// Fills `saved.inverse` and, with `x`, `saved.sum`; returns the norm of the sum.
at::Tensor Forward(const at::Tensor& x, const at::Tensor& residual, const Rms& norm, RmsSaved& saved) {
  saved.weight = norm.weight;
  saved.inverse = at::empty({residual.size(0)}, residual.options());
  saved.sum = x.defined() ? at::empty_like(residual) : residual.detach();
  at::Tensor y = at::empty_like(residual);
  const kernels::ResidualRms kernel{.columns = residual.size(1),
                                    .x = Read(x),
                                    .residual = Read(residual),
                                    .weight = Read(norm.weight),
                                    .eps = static_cast<float>(norm.eps),
                                    .mask = saved.mask,
                                    .sum = x.defined() ? Write(saved.sum) : nullptr,
                                    .y = Write(y),
                                    .inverse = Write(saved.inverse)};
  ParallelFor(residual.size(0), kThreadLines,
              [&](int64_t begin, int64_t end) { kernels::RunResidualRms(kernel, begin, end); });
  return y;
}

// The gradient by the residual; that by x goes into `x_grad` where it is defined.
at::Tensor Backward(const RmsSaved& saved, const at::Tensor& sum_grad, const at::Tensor& y_grad, at::Tensor x_grad) {
  const at::Tensor of_sum = sum_grad.defined() ? sum_grad.contiguous() : sum_grad;
  const at::Tensor of_y = y_grad.defined() ? y_grad.contiguous() : at::zeros_like(saved.sum);
  at::Tensor residual_grad = at::empty_like(saved.sum);
  const kernels::ResidualRmsGradient kernel{.columns = saved.sum.size(1),
                                            .sum_grad = Read(of_sum),
                                            .y_grad = Read(of_y),
                                            .sum = Read(saved.sum),
                                            .inverse = Read(saved.inverse),
                                            .weight = Read(saved.weight),
                                            .mask = saved.mask,
                                            .residual_grad = Write(residual_grad),
                                            .x_grad = Write(x_grad)};
  ParallelFor(saved.sum.size(0), kThreadLines,
              [&](int64_t begin, int64_t end) { kernels::RunResidualRmsGradient(kernel, begin, end); });
  return residual_grad;
}

// The gradient by the norm's weight: a sum over lines.
at::Tensor WeightGradient(const RmsSaved& saved, const at::Tensor& y_grad) {
  if (!y_grad.defined()) return at::zeros_like(saved.weight);
  return (y_grad * saved.sum * saved.inverse.unsqueeze(1)).sum(0);
}

struct RmsFunction : torch::autograd::Function<RmsFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double eps) {
    RmsSaved saved;
    at::Tensor y = Forward({}, x, {weight.detach(), eps}, saved);
    Keep(context, std::move(saved));
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const RmsSaved& saved = Kept<RmsSaved>(context);
    at::Tensor weight_grad;
    if (context->needs_input_grad(1)) weight_grad = WeightGradient(saved, grads[0]);
    return {Backward(saved, {}, grads[0], {}), weight_grad, at::Tensor()};
  }
};

struct AddRmsFunction : torch::autograd::Function<AddRmsFunction> {
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& residual,
                               const at::Tensor& weight, double eps, const DropoutMask& mask) {
    RmsSaved saved;
    saved.mask = mask;
    at::Tensor y = Forward(x, residual, {weight.detach(), eps}, saved);
    // What is kept must not be the output itself, but may share its memory.
    at::Tensor sum = saved.sum.detach();
    Keep(context, std::move(saved));
    return {sum, y};
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const RmsSaved& saved = Kept<RmsSaved>(context);
    at::Tensor x_grad = at::empty_like(saved.sum), weight_grad;
    const at::Tensor residual_grad = Backward(saved, grads[0], grads[1], x_grad);
    if (context->needs_input_grad(2)) weight_grad = WeightGradient(saved, grads[1]);
    return {x_grad, residual_grad, weight_grad, at::Tensor(), at::Tensor()};
  }
};

struct GateFunction : torch::autograd::Function<GateFunction> {
  struct Saved {
    at::Tensor x;
    DropoutMask mask;
  };
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const DropoutMask& mask) {
    const int64_t size = x.size(1) / 2;
    at::Tensor y = at::empty({x.size(0), size}, x.options());
    ParallelFor(x.size(0), kThreadLines, [&, from = Read(x), to = Write(y)](int64_t begin, int64_t end) {
      kernels::RunGate(mask, from, to, size, begin, end);
    });
    Keep(context, Saved{x.detach(), mask});
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const Saved& saved = Kept<Saved>(context);
    const at::Tensor y_grad = grads[0].contiguous();
    at::Tensor x_grad = at::empty_like(saved.x);
    ParallelFor(y_grad.size(0), kThreadLines, [&, to = Write(x_grad)](int64_t begin, int64_t end) {
      kernels::RunGateGradient(saved.mask, Read(saved.x), Read(y_grad), to, y_grad.size(1), begin, end);
    });
    return {x_grad, at::Tensor()};
  }
};

}  // namespace

at::Tensor RmsNormalized(const at::Tensor& x, const Rms& norm) {
  return RmsFunction::apply(x.contiguous(), norm.weight, norm.eps);
}

std::pair<at::Tensor, at::Tensor> DropoutAddRms(const at::Tensor& x, const at::Tensor& residual, const Rms& norm,
                                                const DropoutMask& mask) {
  const variable_list both = AddRmsFunction::apply(x.contiguous(), residual.contiguous(), norm.weight, norm.eps, mask);
  return {both[0], both[1]};
}

at::Tensor DropoutGate(const at::Tensor& x, const DropoutMask& mask) {
  return GateFunction::apply(x.contiguous(), mask);
}

}  // namespace tenon::engine
