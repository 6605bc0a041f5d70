// T5's feed-forward block: wo(relu(wi(x))) in T5, wo(gelu(wi_0(x)) * wi_1(x)) in T5 v1.1 and FLAN (Shazeer, 2020).
// Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/model/joint_linear.h"
#include "worker/engine/model/t5/rms_norm.h"

namespace tenon::engine {

struct FeedForward {
  RmsNorm norm;    // of the block's input, by the caller
  JointLinear wi;  // [lines, d_model] -> [lines, d_ff], or twice as wide: what is activated, then what it gates
  JointLinear wo;  // back
  bool gated = false;

  // [lines, d_model], normalised -> [lines, d_model], to which `residual`, the same before its norm, will be added.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& residual, const ForwardHooks& hooks, Lines lines) const;
  int64_t Bytes() const { return norm.Bytes() + wi.Bytes() + wo.Bytes(); }
};

// gelu(first half) * second half of each line, by gelu's tanh form: [lines, 2 * size] -> [lines, size].
at::Tensor GatedGelu(const at::Tensor& x);

}  // namespace tenon::engine
