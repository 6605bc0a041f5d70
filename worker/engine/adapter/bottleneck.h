// What a bottleneck adapter adds behind a sub-layer. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/adapter/tensors.h"
#include "worker/engine/model/fused.h"

namespace tenon::engine {

// scale * up(f(down(x))) on states h [lines, hidden] that `residual` will be added to, before `norm` (undefined
// weights: a block that reads it reads the sum). Computes in the type of h, which the block's tensors must have;
// autograd works.
at::Tensor RunBottleneck(const Bottleneck& block, const formats::BottleneckConfig& config, const at::Tensor& h,
                         const at::Tensor& residual, const FrozenNorm& norm);

}  // namespace tenon::engine
