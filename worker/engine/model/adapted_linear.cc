#include "worker/engine/model/adapted_linear.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstring>
#include <utility>

#include "worker/engine/model/fused.h"
#include "worker/engine/model/kept.h"
#include "worker/engine/model/panel_product.h"

namespace tenon::engine {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Adapters that read the same input: one product makes what all of them need.
struct Stack {
  std::vector<LowRank> members;
  at::Tensor a;    // [sum of r, in]
  at::Tensor low;  // dropout(x) A^T: [T, sum of r]
  kernels::DropoutMask mask;
};

std::vector<Stack> MakeStacks(const std::vector<LowRank>& adapters) {
  std::vector<Stack> stacks;
  for (const LowRank& adapter : adapters) {
    if (stacks.empty() || adapter.mask.active() || stacks.back().mask.active()) stacks.emplace_back();
    stacks.back().members.push_back(adapter);
    stacks.back().mask = adapter.mask;
  }
  for (Stack& stack : stacks) {
    std::vector<at::Tensor> factors;
    for (LowRank& member : stack.members) {
      member.a = member.a.detach();
      member.b = member.b.detach();
      factors.push_back(member.a);
    }
    stack.a = factors.size() == 1 ? factors[0] : at::cat(factors);
  }
  return stacks;
}

struct AdaptedFunction : torch::autograd::Function<AdaptedFunction> {
  struct Saved {
    at::Tensor x, weight;
    std::vector<Stack> stacks;
  };

  // `factors` are the adapters' a and b in turns: what autograd must see.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, at::TensorList /*factors*/,
                            const std::pair<at::Tensor, const std::vector<LowRank>*>& how) {
    Saved saved{x.detach(), how.first, MakeStacks(*how.second)};
    at::Tensor y = FrozenProduct(saved.x, saved.weight, false);
    for (Stack& stack : saved.stacks) {
      stack.low = at::mm(Dropout(saved.x, stack.mask), stack.a.t());
      int64_t rank = 0;
      for (const LowRank& member : stack.members) {
        const int64_t r = member.a.size(0);
        y.narrow(1, member.first, member.b.size(0)).addmm_(stack.low.narrow(1, rank, r), member.b.t(), 1, member.scale);
        rank += r;
      }
    }
    Keep(context, std::move(saved));
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const Saved& saved = Kept<Saved>(context);
    const at::Tensor& y_grad = grads[0];
    at::Tensor x_grad;
    if (context->needs_input_grad(0)) x_grad = FrozenProduct(y_grad, saved.weight, true);
    variable_list result{x_grad};
    for (const Stack& stack : saved.stacks) {
      at::Tensor low_grad = at::empty_like(stack.low);
      std::vector<at::Tensor> b_grads;
      int64_t rank = 0;
      for (const LowRank& member : stack.members) {
        const int64_t r = member.a.size(0);
        const at::Tensor part = y_grad.narrow(1, member.first, member.b.size(0));
        at::Tensor place = low_grad.narrow(1, rank, r);
        at::mm_out(place, part, member.b).mul_(member.scale);
        b_grads.push_back(at::mm(part.t(), stack.low.narrow(1, rank, r)).mul_(member.scale));
        rank += r;
      }
      const at::Tensor a_grad = at::mm(low_grad.t(), Dropout(saved.x, stack.mask));
      rank = 0;
      for (size_t i = 0; i < stack.members.size(); ++i) {
        const int64_t r = stack.members[i].a.size(0);
        result.push_back(a_grad.narrow(0, rank, r));
        result.push_back(b_grads[i]);
        rank += r;
      }
      if (!x_grad.defined()) continue;
      if (stack.mask.active()) {
        x_grad.add_(Dropout(at::mm(low_grad, stack.a), stack.mask));
      } else {
        x_grad.addmm_(low_grad, stack.a);
      }
    }
    result.emplace_back();
    return result;
  }
};

#if defined(__x86_64__)
Bf16Product AskCpu() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return Bf16Product::kWidened;
  if ((d >> 22 & 1) != 0) return Bf16Product::kLibrary;  // AMX-BF16
  if (!HavePanelProduct()) return Bf16Product::kWidened;
  __get_cpuid(0, &a, &b, &c, &d);
  char vendor[12];
  std::memcpy(vendor, &b, 4);
  std::memcpy(vendor + 4, &d, 4);
  std::memcpy(vendor + 8, &c, 4);
  return std::memcmp(vendor, "AuthenticAMD", sizeof(vendor)) == 0 ? Bf16Product::kPanels : Bf16Product::kWidened;
}
#else
Bf16Product AskCpu() { return Bf16Product::kWidened; }
#endif

}  // namespace

Bf16Product HowBf16Multiplies() {
  static const Bf16Product answer = AskCpu();
  return answer;
}

at::Tensor FrozenProduct(const at::Tensor& x, const at::Tensor& weight, bool turned) {
  const at::Tensor factor = turned ? weight : weight.t();
  if (weight.scalar_type() == at::kFloat) return at::mm(x, factor);
  switch (HowBf16Multiplies()) {
    case Bf16Product::kPanels:
      return PanelProduct(x.stride(1) == 1 ? x : x.contiguous(), weight, turned);
    case Bf16Product::kLibrary:
      return at::mm(x.to(weight.scalar_type()), factor).to(at::kFloat);
    case Bf16Product::kWidened:
      break;
  }
  const at::Tensor wide = weight.to(at::kFloat);
  return at::mm(x, turned ? wide : wide.t());
}

at::Tensor AdaptedLinear(const at::Tensor& x, const at::Tensor& weight, const std::vector<LowRank>& adapters) {
  std::vector<at::Tensor> factors;
  for (const LowRank& adapter : adapters) {
    factors.push_back(adapter.a);
    factors.push_back(adapter.b);
  }
  return AdaptedFunction::apply(x, at::TensorList(factors), std::make_pair(weight, &adapters));
}

}  // namespace tenon::engine
