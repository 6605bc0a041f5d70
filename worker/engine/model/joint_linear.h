// Frozen linear layers that read the same states, computed in one product. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "worker/engine/model/encoder.h"
#include "worker/engine/model/linear.h"

namespace tenon::engine {

class JointLinear {
 public:
  JointLinear() = default;
  // Modules' names in a checkpoint, without `.weight`; each has as many outputs. weight [modules * out, in].
  // Without a bias, or with that of all of them [modules * out].
  JointLinear(std::vector<std::string> modules, at::Tensor weight);
  JointLinear(std::vector<std::string> modules, at::Tensor weight, at::Tensor bias)
      : modules_(std::move(modules)), linear_(std::move(weight), std::move(bias)) {}

  // x W^T + b, what adapters add to each module by `hooks.linear`, and the activation behind both: [lines, in] ->
  // [lines, modules * out]. For inference.
  at::Tensor operator()(const at::Tensor& x, const ForwardHooks& hooks, Lines lines,
                        Activation activation = Activation::kNone) const;

  // The same for a sub-layer's last product, a module alone, with what `hooks.blocks` adds behind it before `residual`
  // [lines, out] is added.
  at::Tensor Last(const at::Tensor& x, const at::Tensor& residual, const ForwardHooks& hooks, Lines lines) const;

  const std::vector<std::string>& modules() const { return modules_; }
  // An fp32 copy of a module's weight [out, in]; undefined where it is none of these.
  at::Tensor Copy(const std::string& module) const;

  // The product of all modules, for its own use.
  const Linear& linear() const { return linear_; }
  Linear& linear() { return linear_; }
  int64_t Bytes() const { return linear_.Bytes(); }

 private:
  std::vector<std::string> modules_;
  Linear linear_;
};

}  // namespace tenon::engine
