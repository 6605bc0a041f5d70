// oneDNN's linear layer on packed weights, for inference on the CPU, and the choice between kernels. Engine-internal,
// torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "worker/engine/model/activation.h"
#include "worker/engine/model/panel_gemm.h"

namespace tenon::engine {

// Whether this build of torch brings it.
bool HavePackedLinear();
// Weight [out, in] in oneDNN's own layout: good for PackedLinear alone.
at::Tensor PackWeight(const at::Tensor& weight);
// [T, in] -> [T, out] with the activation in the same kernel. Each new T compiles a kernel once (about half a
// millisecond).
at::Tensor PackedLinear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias, Activation activation);

// Finds for each shape of layer, once, by measurement, which product is faster on this machine. Not thread-safe.
class KernelChoice {
 public:
  // Whether oneDNN's product on packed weights is worth its memory beside the library's.
  bool PreferPacked(const at::Tensor& weight, const at::Tensor& bias, Activation activation);

  struct Layer {
    at::Tensor weight, bias;
    Activation activation = Activation::kNone;
  };
  // The format in which our own product on panels is faster than the better of the two, over all of these
  // layers together; kBf16 for bf16 weights alone.
  std::optional<PanelFormat> PreferPanels(const std::vector<Layer>& layers);

 private:
  struct Times {
    double library = 0, packed = 0;  // infinite: not on this machine
    std::map<PanelFormat, double> panels;
  };
  const Times& Measure(const at::Tensor& weight, const at::Tensor& bias, Activation activation);

  std::map<std::tuple<int64_t, int64_t, Activation>, Times> known_;  // in, out
};

}  // namespace tenon::engine
