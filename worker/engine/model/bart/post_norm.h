// Residual and layer norm behind a sub-layer (Vaswani et al., 2017; Ba et al., 2016), for inference. Engine-internal,
// torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "worker/engine/model/fused.h"

namespace tenon::engine {

class PostNorm {
 public:
  PostNorm() = default;
  // weight and shift [size].
  explicit PostNorm(FrozenNorm norm);

  // norm(x + residual): [lines, size] -> the same, in the memory of x. States that are wider than the norm's weights
  // are fp32 on the CPU.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& residual) const;

  int64_t Bytes() const;

 private:
  FrozenNorm norm_, wide_;  // the latter in fp32, for our own kernel
};

}  // namespace tenon::engine
