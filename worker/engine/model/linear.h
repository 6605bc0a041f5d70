// A frozen linear layer. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tenon::engine {

// y = x W^T + b. Immutable; safe from any thread.
class Linear {
 public:
  Linear() = default;
  // weight [out, in]; bias [out].
  Linear(at::Tensor weight, at::Tensor bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}

  bool defined() const { return weight_.defined(); }
  int64_t in() const { return weight_.size(1); }
  int64_t out() const { return weight_.size(0); }

  // [T, in] -> [T, out], by the one kernel that training uses too: autograd works, and the result repeats itself.
  at::Tensor operator()(const at::Tensor& x) const;

  int64_t Bytes() const;

 private:
  at::Tensor weight_, bias_;
};

}  // namespace tenon::engine
