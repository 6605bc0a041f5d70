#include "worker/engine/train/trainable.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/adapter/bottleneck.h"
#include "worker/engine/train/new_adapter.h"

namespace tenon::engine {
namespace {

// Takes the weights that `initial` has under the same names; both must have the same shapes.
absl::Status TakeInitial(const AdapterTensors& initial, const at::Device& device, AdapterTensors& adapter) {
  const auto take = [&](const std::string& name, const at::Tensor& from, at::Tensor& to) {
    if (from.defined() != to.defined() || (to.defined() && from.sizes() != to.sizes())) {
      return TenonError(Reason::kAdapterInvalid, absl::StrCat("the initial adapter's ", name, " has another shape"),
                        name);
    }
    if (to.defined()) to = from.detach().to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(take("prompt_embeddings", initial.prompt_embeddings, adapter.prompt_embeddings));
  if (initial.pairs.size() != adapter.pairs.size()) {
    return TenonError(Reason::kAdapterInvalid, "the initial adapter has other target modules", "target_modules");
  }
  for (auto& [name, pair] : adapter.pairs) {
    const auto found = initial.pairs.find(name);
    if (found == initial.pairs.end()) {
      return TenonError(Reason::kAdapterInvalid, absl::StrCat("the initial adapter has no ", name), name);
    }
    RETURN_IF_ERROR(take(name, found->second.a, pair.a));
    RETURN_IF_ERROR(take(name, found->second.b, pair.b));
  }
  if (initial.bottlenecks.size() != adapter.bottlenecks.size()) {
    return TenonError(Reason::kAdapterInvalid, "the initial adapter has its blocks elsewhere", "layout");
  }
  for (auto& [name, block] : adapter.bottlenecks) {
    const auto found = initial.bottlenecks.find(name);
    if (found == initial.bottlenecks.end()) {
      return TenonError(Reason::kAdapterInvalid, absl::StrCat("the initial adapter has no block behind ", name), name);
    }
    RETURN_IF_ERROR(take(name, found->second.down.weight, block.down.weight));
    RETURN_IF_ERROR(take(name, found->second.down.bias, block.down.bias));
    RETURN_IF_ERROR(take(name, found->second.up.weight, block.up.weight));
    RETURN_IF_ERROR(take(name, found->second.up.bias, block.up.bias));
  }
  for (auto& [name, module] : adapter.modules) {
    const auto found = initial.modules.find(name);
    if (found == initial.modules.end()) continue;  // a feature-extraction adapter starts with a new head
    RETURN_IF_ERROR(take(name, found->second.weight, module.weight));
    RETURN_IF_ERROR(take(name, found->second.bias, module.bias));
  }
  return absl::OkStatus();
}

// Calls visit(parameter name, module name, tensor, whether it is a matrix) for every tensor, in a fixed order.
template <typename Visit>
void VisitTensors(AdapterTensors& adapter, Visit visit) {
  if (adapter.prompt_embeddings.defined()) visit("prompt_embeddings", kEmbeddings, adapter.prompt_embeddings, true);
  for (auto& [module, pair] : adapter.pairs) {
    visit(module + ".lora_A", module, pair.a, true);
    visit(module + ".lora_B", module, pair.b, true);
  }
  for (auto& [module, block] : adapter.bottlenecks) {
    visit(module + ".adapter_down.weight", module, block.down.weight, true);
    visit(module + ".adapter_down.bias", module, block.down.bias, false);
    visit(module + ".adapter_up.weight", module, block.up.weight, true);
    visit(module + ".adapter_up.bias", module, block.up.bias, false);
  }
  for (auto& [module, saved] : adapter.modules) {
    visit(module + ".weight", module, saved.weight, true);
    if (saved.bias.defined()) visit(module + ".bias", module, saved.bias, false);
  }
}

}  // namespace

absl::StatusOr<TrainableAdapter> TrainableAdapter::Make(const TrainingSite& site, const TrainOptions& options,
                                                        const formats::TenonConfig& config,
                                                        const AdapterTensors* initial,
                                                        absl::Span<const int32_t> init_tokens) {
  TrainableAdapter made;
  ASSIGN_OR_RETURN(made.adapter_, NewAdapter(site, options, config, init_tokens));
  if (initial != nullptr) RETURN_IF_ERROR(TakeInitial(*initial, site.device, made.adapter_));
  made.Register([&site](const std::string& module) { return site.SegmentsOf(module); });
  return made;
}

absl::StatusOr<TrainableAdapter> TrainableAdapter::MakeWhole(AdapterTensors modules, const TrainingSite& site,
                                                             const AdapterTensors* initial) {
  TrainableAdapter made;
  made.adapter_ = std::move(modules);
  made.whole_ = true;
  if (initial != nullptr) RETURN_IF_ERROR(TakeInitial(*initial, site.device, made.adapter_));
  made.Register([&site](const std::string& module) { return site.SegmentsOf(module); });
  return made;
}

absl::StatusOr<TrainableAdapter> TrainableAdapter::MakeHead(int64_t features, double initializer_range, uint64_t seed,
                                                            const at::Device& device,
                                                            const formats::TenonConfig& config,
                                                            const AdapterTensors* initial) {
  TrainableAdapter made;
  made.adapter_ = NewHead(features, initializer_range, seed, device, config);
  if (initial != nullptr) RETURN_IF_ERROR(TakeInitial(*initial, device, made.adapter_));
  made.Register([](const std::string&) { return std::vector<int64_t>{0}; });
  return made;
}

int64_t TrainableAdapter::lowest_segment() const {
  const auto lower = [](const Parameter& a, const Parameter& b) { return a.segments.front() < b.segments.front(); };
  return std::min_element(parameters_.begin(), parameters_.end(), lower)->segments.front();
}

LinearHook TrainableAdapter::Hook(JobDropout* dropout) const {
  const double p = adapter_.lora.dropout;
  return [this, dropout, p](const std::string& module, const at::Tensor& x, const at::Tensor& y, Lines) -> at::Tensor {
    if (const auto saved = adapter_.modules.find(module); saved != adapter_.modules.end()) {
      return at::linear(x.to(at::kFloat), saved->second.weight, saved->second.bias).to(y.scalar_type());
    }
    const auto found = adapter_.pairs.find(module);
    if (found == adapter_.pairs.end()) return y;
    const LoraPair& pair = found->second;
    // The adapter's branch is fp32 whatever the base is, as in PEFT.
    at::Tensor input = x.to(at::kFloat);
    if (dropout != nullptr) input = (*dropout)(input, p);
    const at::Tensor low = at::linear(input, pair.a);
    return at::addmm(y.to(at::kFloat), low, pair.b.t(), 1, pair.scale).to(y.scalar_type());
  };
}

FusedHooks TrainableAdapter::Fused(JobDropout* dropout) const {
  FusedHooks hooks;
  hooks.dropout = [dropout](double p) { return dropout != nullptr ? dropout->Next(p) : kernels::DropoutMask(); };
  hooks.replaces = [this](const std::string& module) { return Replaces(module); };
  hooks.low_rank = [this, next = hooks.dropout](const std::string& module) -> std::optional<LowRank> {
    const auto found = adapter_.pairs.find(module);
    if (found == adapter_.pairs.end()) return std::nullopt;
    const LoraPair& pair = found->second;
    return LowRank{pair.a, pair.b, pair.scale, 0, next(adapter_.lora.dropout)};
  };
  return hooks;
}

BlockHook TrainableAdapter::Blocks(JobDropout* dropout) const {
  if (adapter_.bottlenecks.empty()) return nullptr;
  return [this, dropout](const std::string& module, const at::Tensor& h, const at::Tensor& residual,
                         const FrozenNorm& norm, Lines) -> at::Tensor {
    // fp32 whatever the base is, as LoRA's branch.
    const at::Tensor wide = h.to(at::kFloat);
    at::Tensor delta =
        RunBottleneck(adapter_.bottlenecks.at(module), adapter_.bottleneck, wide, residual.to(at::kFloat), norm);
    if (dropout != nullptr) delta = (*dropout)(delta, adapter_.bottleneck.dropout);
    return (wide + delta).to(h.scalar_type());
  };
}

PromptHook TrainableAdapter::Prompts() const {
  if (adapter_.virtual_tokens() == 0) return nullptr;
  return [this](const at::Tensor& words, const PackedBatch& batch) {
    const int64_t count = adapter_.virtual_tokens();
    std::vector<int64_t> places;
    for (int64_t row = 0; row < batch.rows(); ++row) {
      for (int64_t i = 0; i < count; ++i) places.push_back(batch.offsets[row] + i);
    }
    const at::Tensor index = at::tensor(places, at::kLong).to(words.device());
    return words.index_copy(0, index, adapter_.prompt_embeddings.to(words.scalar_type()).repeat({batch.rows(), 1}));
  };
}

ForwardHooks TrainableAdapter::Hooks(JobDropout* dropout, const at::Device& device) const {
  ForwardHooks hooks;
  hooks.linear = Hook(dropout);
  hooks.adapts = [this](const std::string& module) { return Adapts(module); };
  hooks.prompts = Prompts();
  hooks.blocks = Blocks(dropout);
  hooks.has_block = [this](const std::string& module) { return HasBlock(module); };
  if (device.is_cpu()) hooks.fused = std::make_shared<FusedHooks>(Fused(dropout));
  if (dropout != nullptr) hooks.dropout = [dropout](const at::Tensor& x, double p) { return (*dropout)(x, p); };
  return hooks;
}

AdapterTensors TrainableAdapter::Snapshot(const std::map<std::string, at::Tensor>& values) const {
  AdapterTensors copy = adapter_;
  VisitTensors(copy, [&](const std::string& name, const std::string&, at::Tensor& tensor, bool) {
    const auto found = values.find(name);
    tensor = (found == values.end() ? tensor : found->second).detach().clone();
  });
  return copy;
}

void TrainableAdapter::Register(const std::function<std::vector<int64_t>(const std::string& module)>& segments_of) {
  VisitTensors(adapter_, [&](const std::string& name, const std::string& module, at::Tensor& tensor, bool matrix) {
    tensor = tensor.contiguous().set_requires_grad(true);
    // A norm's weight is no matrix, and a table of biases is no weight.
    const bool decay = matrix && tensor.dim() > 1 && !absl::EndsWith(module, "bias");
    parameters_.push_back({name, tensor, at::Tensor(), segments_of(module), decay});
  });
}

}  // namespace tenon::engine
