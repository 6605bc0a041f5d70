#include "worker/engine/model/training_layer.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <string>
#include <vector>

#include "worker/engine/model/adapted_linear.h"
#include "worker/engine/model/fused.h"
#include "worker/engine/model/fused_attention.h"

namespace tenon::engine {
namespace {

// A product whose bias the next function adds; undefined: it is in already.
struct Product {
  at::Tensor y, bias;
};

// `modules` share the layer's outputs equally, in this order.
Product Multiply(const Linear& linear, const std::vector<const std::string*>& modules, const at::Tensor& x,
                 const ForwardHooks& hooks, Lines lines) {
  const FusedHooks& fused = *hooks.fused;
  const int64_t width = linear.out() / static_cast<int64_t>(modules.size());
  if (std::any_of(modules.begin(), modules.end(), [&](const auto* name) { return fused.replaces(*name); })) {
    std::vector<at::Tensor> parts = linear(x).split(width, 1);
    for (size_t i = 0; i < parts.size(); ++i) parts[i] = hooks.linear(*modules[i], x, parts[i], lines);
    return {parts.size() == 1 ? parts[0] : at::cat(parts, 1), at::Tensor()};
  }
  std::vector<LowRank> adapters;
  for (size_t i = 0; i < modules.size(); ++i) {
    std::optional<LowRank> adapter = fused.low_rank(*modules[i]);
    if (!adapter.has_value()) continue;
    adapter->first = static_cast<int64_t>(i) * width;
    adapters.push_back(*std::move(adapter));
  }
  return {AdaptedLinear(x, linear.weight(), adapters), linear.bias()};
}

// norm(dropout(product) + residual) with an adapter's block in between, where it has one.
at::Tensor Finish(const Product& product, const std::string& module, const at::Tensor& residual, const FrozenNorm& norm,
                  double dropout, const ForwardHooks& hooks, Lines lines) {
  const DropoutMask mask = hooks.fused->dropout(dropout);
  if (!hooks.blocks || !hooks.has_block(module)) return DropoutAddNorm(product.y, product.bias, residual, norm, mask);
  const at::Tensor h = Dropout(BiasActivation(product.y, product.bias, Activation::kNone), mask);
  return DropoutAddNorm(hooks.blocks(module, h, residual, norm, lines), {}, residual, norm, {});
}

}  // namespace

at::Tensor TrainingLayer(const FrozenLayer& layer, const at::Tensor& x, const PackedBatch& batch, int64_t heads,
                         Activation activation, const ForwardHooks& hooks, Lines lines) {
  const formats::LayerNames& names = layer.names;
  const FusedHooks& fused = *hooks.fused;
  const Product qkv = Multiply(layer.qkv, {&names.query, &names.key, &names.value}, x, hooks, Lines::kTokens);
  const at::Tensor context = Picked(
      RaggedAttention(qkv.y, qkv.bias, batch.offsets, heads, fused.dropout(hooks.attention_dropout)), batch, lines);
  const Product attended = Multiply(layer.attention_output, {&names.attention_output}, context, hooks, lines);
  const at::Tensor middle = Finish(attended, names.attention_output, Picked(x, batch, lines), layer.attention_norm,
                                   layer.drops_attention_output ? hooks.hidden_dropout : 0, hooks, lines);
  const Product wide = Multiply(layer.intermediate, {&names.intermediate}, middle, hooks, lines);
  const at::Tensor active = BiasActivation(wide.y, wide.bias, activation);
  const Product narrow = Multiply(layer.output, {&names.output}, active, hooks, lines);
  return Finish(narrow, names.output, middle, layer.output_norm, hooks.hidden_dropout, hooks, lines);
}

}  // namespace tenon::engine
