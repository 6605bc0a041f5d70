// A frozen linear layer. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "worker/engine/model/activation.h"
#include "worker/engine/model/packed_linear.h"

namespace tenon::engine {

// y = x W^T + b. Safe from any thread once it is made.
class Linear {
 public:
  Linear() = default;
  // weight [out, in]; bias [out].
  Linear(at::Tensor weight, at::Tensor bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}

  bool defined() const { return weight_.defined(); }
  const at::Tensor& weight() const { return weight_; }
  const at::Tensor& bias() const { return bias_; }
  int64_t in() const { return weight_.size(1); }
  int64_t out() const { return weight_.size(0); }

  // [T, in] -> [T, out], by the one kernel that training uses too: autograd works, and the result repeats itself. A
  // weight of another precision than x is converted for the moment.
  at::Tensor operator()(const at::Tensor& x) const;

  // For inference: the same with an activation behind it, by the kernel that Prepare found faster.
  at::Tensor Fast(const at::Tensor& x, Activation activation) const;
  // Keeps a packed copy of the weight when `choice` says that it is faster for this shape.
  void Prepare(KernelChoice& choice, Activation activation);
  // Keeps the copy that `choice` finds fastest of all, or none; for fp32 weights.
  void PrepareFastest(KernelChoice& choice, Activation activation);
  // Keeps a copy in panels instead: Fast and FastPart then take and give fp32, whatever the weight's type.
  void PreparePanels(PanelFormat format);
  bool packed() const { return packed_.defined(); }
  // Fast for `count` outputs from `first` on, multiples of a panel's width: [T, in] -> [T, count]. Needs panels.
  at::Tensor FastPart(const at::Tensor& x, int64_t first, int64_t count) const;

  // fp32 copies of `count` outputs from `first` on: weight [count, in] and bias [count].
  std::pair<at::Tensor, at::Tensor> Copy(int64_t first, int64_t count) const;

  // What `choice` measures of this layer.
  KernelChoice::Layer Measured(Activation activation) const { return {weight_, bias_, activation}; }

  int64_t Bytes() const;

 private:
  at::Tensor weight_, bias_;
  at::Tensor packed_;  // oneDNN's own layout
  std::shared_ptr<const PanelWeight> panels_;
};

}  // namespace tenon::engine
