// oneDNN's linear layer on packed weights, for inference on the CPU, and the choice between kernels. Engine-internal,
// torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "worker/engine/device.h"
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

// The products that a layer's inference may use.
enum class ProductKind { kLibrary, kPacked, kPanels };

// Finds for each shape of layer, once, by measurement, which product is faster on this machine. Not thread-safe.
class KernelChoice {
 public:
  // `step_lines` > 0: for the steps of a decoder, where all threads share each product of about that many lines; else
  // for batches of rows.
  explicit KernelChoice(RunAlone run_alone, int64_t step_lines = 0)
      : run_alone_(std::move(run_alone)), step_lines_(step_lines) {}

  // Whether oneDNN's product on packed weights is worth its memory beside the library's.
  bool PreferPacked(const at::Tensor& weight, const at::Tensor& bias, Activation activation);

  struct Layer {
    at::Tensor weight, bias;
    Activation activation = Activation::kNone;
  };
  // The format in which our own product on panels is faster than the better of the two, over all of these
  // layers together; kBf16 for bf16 weights alone.
  std::optional<PanelFormat> PreferPanels(const std::vector<Layer>& layers);
  // The fastest for this layer alone, an fp32 one; a copy of the weight must be worth its memory.
  ProductKind Fastest(const Layer& layer);

 private:
  struct Times {
    double library = 0, packed = 0;  // infinite: not on this machine
    std::map<PanelFormat, double> panels;
  };
  const Times& Measure(const at::Tensor& weight, const at::Tensor& bias, Activation activation);

  const RunAlone run_alone_;
  const int64_t step_lines_;
  std::map<std::tuple<int64_t, int64_t, Activation>, Times> known_;  // in, out
};

}  // namespace tenon::engine
