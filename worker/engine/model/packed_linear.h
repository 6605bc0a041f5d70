// oneDNN's linear layer on packed weights, for inference on the CPU. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <tuple>

#include "worker/engine/model/activation.h"

namespace tenon::engine {

// Whether this build of torch brings it.
bool HavePackedLinear();
// Weight [out, in] in oneDNN's own layout: good for PackedLinear alone.
at::Tensor PackWeight(const at::Tensor& weight);
// [T, in] -> [T, out] with the activation in the same kernel. Each new T compiles a kernel once (about half a
// millisecond).
at::Tensor PackedLinear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias, Activation activation);

// Finds for each shape of layer, once, by measurement, which product is faster on this machine: the library's or
// oneDNN's on packed weights. Not thread-safe.
class KernelChoice {
 public:
  bool PreferPacked(const at::Tensor& weight, const at::Tensor& bias, Activation activation);

 private:
  std::map<std::tuple<int64_t, int64_t, Activation>, bool> known_;  // in, out
};

}  // namespace tenon::engine
