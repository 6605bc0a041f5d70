#include "worker/engine/adapter/bottleneck.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>

#include "worker/engine/model/row_inference.h"

namespace tenon::engine {
namespace {

at::Tensor Bend(const at::Tensor& x, const std::string& name) {
  const auto kind = formats::ParseNonLinearity(name);
  TORCH_CHECK(kind.ok(), "a config is checked when it is read");
  switch (*kind) {
    case formats::NonLinearity::kRelu:
      return at::relu(x);
    case formats::NonLinearity::kGelu:
      return at::gelu(x, "none");
    case formats::NonLinearity::kGeluTanh:
      return at::gelu(x, "tanh");
    case formats::NonLinearity::kSilu:
      return at::silu(x);
    case formats::NonLinearity::kTanh:
      return at::tanh(x);
  }
  return x;
}

at::Tensor Read(const formats::BottleneckConfig& config, const at::Tensor& h, const at::Tensor& residual,
                const FrozenNorm& norm) {
  if (config.parallel) return residual;
  if (!config.reads_norm) return h;
  const at::Tensor sum = h + residual;
  if (!norm.weight.defined()) return sum;
  return at::layer_norm(sum, {sum.size(1)}, norm.weight.to(sum.scalar_type()), norm.shift.to(sum.scalar_type()),
                        norm.eps);
}

// What our own product does behind itself; nothing for the others.
Activation Fused(const std::string& name) {
  const auto kind = formats::ParseNonLinearity(name);
  if (kind.ok() && *kind == formats::NonLinearity::kRelu) return Activation::kRelu;
  if (kind.ok() && *kind == formats::NonLinearity::kGelu) return Activation::kGelu;
  if (kind.ok() && *kind == formats::NonLinearity::kGeluTanh) return Activation::kGeluTanh;
  return Activation::kNone;
}

// A line's result depends on that line alone, but for the last bit of torch's own functions between the two products.
at::Tensor RunPanels(const Bottleneck& block, const std::string& non_linearity, const at::Tensor& x) {
  const PanelWeight &down = *block.down_panels, &up = *block.up_panels;
  const Activation fused = Fused(non_linearity);
  const at::Tensor low = PanelLinear(x, down, fused, 0, down.panels());
  return PanelLinear(fused == Activation::kNone ? Bend(low, non_linearity) : low, up, Activation::kNone, 0,
                     up.panels());
}

}  // namespace

at::Tensor RunBottleneck(const Bottleneck& block, const formats::BottleneckConfig& config, const at::Tensor& h,
                         const at::Tensor& residual, const FrozenNorm& norm) {
  const at::Tensor x = Read(config, h, residual, norm);
  if (block.down_panels != nullptr) return RunPanels(block, config.non_linearity, x);
  const at::Tensor down = at::linear(x, block.down.weight, block.down.bias);
  const at::Tensor up = at::linear(Bend(down, config.non_linearity), block.up.weight, block.up.bias);
  return block.scale == 1 ? up : up * block.scale;
}

}  // namespace tenon::engine
