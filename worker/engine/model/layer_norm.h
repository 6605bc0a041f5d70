// Layer norm between a decoder's sub-layers, in inference (Ba et al., 2016). Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tenon::engine {

class LayerNorm {
 public:
  LayerNorm() = default;
  // weight and shift [size].
  LayerNorm(at::Tensor weight, at::Tensor shift, double eps);

  bool defined() const { return weight_.defined(); }

  // [lines, size] -> the same, in memory of its own.
  at::Tensor operator()(const at::Tensor& x) const;
  // x <- x + delta in x's memory, then its norm; where there is none, x itself.
  at::Tensor AddAndNorm(const at::Tensor& x, const at::Tensor& delta) const;

  int64_t Bytes() const;

 private:
  at::Tensor weight_, shift_;
  at::Tensor wide_weight_, wide_shift_;  // in fp32, for our own kernel
  double eps_ = 1e-5;
};

}  // namespace tenon::engine
