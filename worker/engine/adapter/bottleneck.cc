#include "worker/engine/adapter/bottleneck.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>

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

}  // namespace

at::Tensor RunBottleneck(const Bottleneck& block, const formats::BottleneckConfig& config, const at::Tensor& h,
                         const at::Tensor& residual, const FrozenNorm& norm) {
  const at::Tensor x = Read(config, h, residual, norm);
  const at::Tensor down = at::linear(x, block.down.weight, block.down.bias);
  const at::Tensor up = at::linear(Bend(down, config.non_linearity), block.up.weight, block.up.bias);
  return block.scale == 1 ? up : up * block.scale;
}

}  // namespace tenon::engine
