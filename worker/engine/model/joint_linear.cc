#include "worker/engine/model/joint_linear.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>

#include "worker/engine/model/fused.h"

namespace tenon::engine {

JointLinear::JointLinear(std::vector<std::string> modules, at::Tensor weight) : modules_(std::move(modules)) {
  // The products of `Linear` add a bias in any case.
  at::Tensor none = at::zeros({weight.size(0)}, weight.options());
  linear_ = Linear(std::move(weight), std::move(none));
}

at::Tensor JointLinear::operator()(const at::Tensor& x, const ForwardHooks& hooks, Lines lines,
                                   Activation activation) const {
  const auto adapted = [&](const std::string& module) {
    return hooks.linear && (!hooks.adapts || hooks.adapts(module));
  };
  if (std::none_of(modules_.begin(), modules_.end(), adapted)) return linear_.Fast(x, activation);
  const at::Tensor y = linear_.Fast(x, Activation::kNone);
  const int64_t out = y.size(1) / static_cast<int64_t>(modules_.size());
  for (size_t i = 0; i < modules_.size(); ++i) {
    if (!adapted(modules_[i])) continue;
    const at::Tensor part = y.narrow(1, static_cast<int64_t>(i) * out, out);
    const at::Tensor changed = hooks.linear(modules_[i], x, part, lines);
    if (!changed.is_same(part)) part.copy_(changed);
  }
  return Activate(y, activation);
}

at::Tensor JointLinear::Copy(const std::string& module) const {
  const auto found = std::find(modules_.begin(), modules_.end(), module);
  if (found == modules_.end()) return {};
  const int64_t out = linear_.out() / static_cast<int64_t>(modules_.size());
  return linear_.Copy((found - modules_.begin()) * out, out).first;
}

at::Tensor JointLinear::Last(const at::Tensor& x, const at::Tensor& residual, const ForwardHooks& hooks,
                             Lines lines) const {
  const at::Tensor y = (*this)(x, hooks, lines);
  const std::string& module = modules_.front();
  if (!hooks.blocks || !hooks.has_block(module)) return y;
  // The norm that is ahead belongs to the next sub-layer: blocks do not read it.
  return hooks.blocks(module, y, residual, FrozenNorm{}, lines);
}

}  // namespace tenon::engine
