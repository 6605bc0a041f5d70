#include "worker/engine/model/fused.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <utility>

#include "worker/engine/kernels/activation.h"
#include "worker/engine/kernels/residual_norm.h"
#include "worker/engine/model/floats.h"
#include "worker/engine/model/kept.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct DropoutFunction : torch::autograd::Function<DropoutFunction> {
  static at::Tensor Apply(const at::Tensor& x, const DropoutMask& mask) {
    const at::Tensor from = x.contiguous();
    at::Tensor to = at::empty_like(from);
    const int64_t columns = x.size(-1);
    ParallelFor(x.numel() / columns, kThreadLines, [&, in = Read(from), out = Write(to)](int64_t begin, int64_t end) {
      kernels::ApplyDropout(mask, in, out, columns, begin, end);
    });
    return to;
  }
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const DropoutMask& mask) {
    Keep(context, mask);
    return Apply(x, mask);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    return {Apply(grads[0], Kept<DropoutMask>(context)), at::Tensor()};
  }
};

struct NormFunction : torch::autograd::Function<NormFunction> {
  struct Saved {
    at::Tensor normalized, inverse_deviation, weight;
    DropoutMask mask;
  };
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& residual,
                            const std::pair<at::Tensor, FrozenNorm>& frozen, const DropoutMask& mask) {
    const at::Tensor bias = Wide(frozen.first), shift = Wide(frozen.second.shift);
    Saved saved{at::empty_like(x), at::empty({x.size(0)}, x.options()), Wide(frozen.second.weight), mask};
    at::Tensor y = at::empty_like(x);
    const kernels::ResidualNorm norm{.columns = x.size(1),
                                     .x = Read(x),
                                     .bias = Read(bias),
                                     .residual = Read(residual),
                                     .weight = Read(saved.weight),
                                     .shift = Read(shift),
                                     .eps = static_cast<float>(frozen.second.eps),
                                     .mask = mask,
                                     .y = Write(y),
                                     .normalized = Write(saved.normalized),
                                     .inverse_deviation = Write(saved.inverse_deviation)};
    ParallelFor(x.size(0), kThreadLines,
                [&](int64_t begin, int64_t end) { kernels::RunResidualNorm(norm, begin, end); });
    Keep(context, std::move(saved));
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const Saved& saved = Kept<Saved>(context);
    const at::Tensor y_grad = grads[0].contiguous();
    at::Tensor x_grad = at::empty_like(y_grad), residual_grad = at::empty_like(y_grad);
    const kernels::ResidualNormGradient norm{.columns = y_grad.size(1),
                                             .y_grad = Read(y_grad),
                                             .normalized = Read(saved.normalized),
                                             .inverse_deviation = Read(saved.inverse_deviation),
                                             .weight = Read(saved.weight),
                                             .mask = saved.mask,
                                             .residual_grad = Write(residual_grad),
                                             .x_grad = Write(x_grad)};
    ParallelFor(y_grad.size(0), kThreadLines,
                [&](int64_t begin, int64_t end) { kernels::RunResidualNormGradient(norm, begin, end); });
    return {x_grad, residual_grad, at::Tensor(), at::Tensor()};
  }
};

struct ActivationFunction : torch::autograd::Function<ActivationFunction> {
  struct Saved {
    at::Tensor x, bias;
    kernels::Curve curve;
  };
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const std::pair<at::Tensor, Activation>& how) {
    const kernels::Curve curve = how.second == Activation::kRelu   ? kernels::Curve::kRelu
                                 : how.second == Activation::kGelu ? kernels::Curve::kGelu
                                                                   : kernels::Curve::kGeluTanh;
    const Saved saved{x, Wide(how.first), curve};
    at::Tensor y = at::empty_like(x);
    ParallelFor(x.size(0), kThreadLines, [&, to = Write(y)](int64_t begin, int64_t end) {
      kernels::RunBiasActivation(curve, Read(saved.x), Read(saved.bias), to, x.size(1), begin, end);
    });
    Keep(context, saved);
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const Saved& saved = Kept<Saved>(context);
    const at::Tensor y_grad = grads[0].contiguous();
    at::Tensor x_grad = at::empty_like(y_grad);
    ParallelFor(y_grad.size(0), kThreadLines, [&, to = Write(x_grad)](int64_t begin, int64_t end) {
      kernels::RunBiasActivationGradient(saved.curve, Read(saved.x), Read(saved.bias), Read(y_grad), to, y_grad.size(1),
                                         begin, end);
    });
    return {x_grad, at::Tensor()};
  }
};

}  // namespace

at::Tensor Dropout(const at::Tensor& x, const DropoutMask& mask) {
  return mask.active() ? DropoutFunction::apply(x, mask) : x;
}

at::Tensor DropoutAddNorm(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual,
                          const FrozenNorm& norm, const DropoutMask& mask) {
  return NormFunction::apply(x.contiguous(), residual.contiguous(), std::make_pair(bias, norm), mask);
}

at::Tensor BiasActivation(const at::Tensor& x, const at::Tensor& bias, Activation activation) {
  if (activation == Activation::kNone) return bias.defined() ? x + Wide(bias) : x;
  return ActivationFunction::apply(x.contiguous(), std::make_pair(bias, activation));
}

}  // namespace tenon::engine
