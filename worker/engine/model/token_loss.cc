#include "worker/engine/model/token_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "worker/engine/kernels/token_loss.h"
#include "worker/engine/model/adapted_linear.h"
#include "worker/engine/model/floats.h"
#include "worker/engine/model/kept.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Logits at a time: enough lines for a product at full speed, few enough to stay near the core.
constexpr int64_t kLogits = 1 << 22;
constexpr int64_t kLeastLines = 16;

struct LossGradients {
  at::Tensor x, weight;
};

// Adds up lines' losses; the sum's gradients are written to `grads.x` and added to `grads.weight`, where they are
// defined.
TokenScores Run(const at::Tensor& x, const at::Tensor& weight, c10::ArrayRef<int64_t> targets,
                const LossGradients& grads) {
  const int64_t lines = x.size(0), vocab = weight.size(0), step = std::max(kLeastLines, kLogits / vocab);
  TORCH_CHECK(static_cast<int64_t>(targets.size()) == lines, "every line has a target");
  std::vector<float> loss(static_cast<size_t>(lines));
  const auto right = std::make_unique<bool[]>(static_cast<size_t>(lines));
  for (int64_t first = 0; first < lines; first += step) {
    const int64_t count = std::min(step, lines - first);
    at::Tensor logits = FrozenProduct(x.narrow(0, first, count), weight, /*turned=*/false).contiguous();
    const kernels::TokenLoss part{.columns = vocab,
                                  .targets = targets.data() + first,
                                  .logits = Write(logits),
                                  .loss = loss.data() + first,
                                  .right = right.get() + first,
                                  .gradient = grads.x.defined()};
    ParallelFor(count, 1, [&](int64_t begin, int64_t end) { kernels::RunTokenLoss(part, begin, end); });
    if (grads.x.defined()) grads.x.narrow(0, first, count).copy_(FrozenProduct(logits, weight, /*turned=*/true));
    if (grads.weight.defined()) grads.weight.addmm_(logits.t(), x.narrow(0, first, count));
  }
  TokenScores scores;
  for (int64_t line = 0; line < lines; ++line) {
    scores.loss += loss[static_cast<size_t>(line)];
    scores.right += right[static_cast<size_t>(line)] ? 1 : 0;
  }
  return scores;
}

struct LossFunction : torch::autograd::Function<LossFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            c10::ArrayRef<int64_t> targets) {
    LossGradients made{at::empty_like(x), {}};
    if (weight.requires_grad()) made.weight = at::zeros_like(weight);
    const TokenScores scores = Run(x.detach(), weight.detach(), targets, made);
    Keep(context, std::move(made));
    return at::full({}, scores.loss, x.options());
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const LossGradients& made = Kept<LossGradients>(context);
    at::Tensor weight_grad;
    if (made.weight.defined()) weight_grad = made.weight * grads[0];
    return {made.x * grads[0], weight_grad, at::Tensor()};
  }
};

}  // namespace

at::Tensor TokenLoss(const at::Tensor& x, const at::Tensor& weight, c10::ArrayRef<int64_t> targets) {
  return LossFunction::apply(x.contiguous(), weight, targets);
}

TokenScores ScoreTokens(const at::Tensor& x, const at::Tensor& weight, c10::ArrayRef<int64_t> targets) {
  return Run(x, weight, targets, {});
}

TokenScores ScoreLogits(const at::Tensor& logits, const at::Tensor& targets) {
  const at::Tensor loss = at::cross_entropy_loss(logits, targets, {}, at::Reduction::Sum);
  return {loss.item<double>(), (at::argmax(logits, 1) == targets).sum().item<int64_t>()};
}

}  // namespace tenon::engine
