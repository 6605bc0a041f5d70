#include "worker/engine/train/trainable.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/uniform.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/formats/status.h"
#include "worker/engine/train/random.h"

namespace tenon::engine {
namespace {

constexpr char kLayerPrefix[] = "encoder.layer.";
constexpr char kTaskPrefix[] = "bert.";  // of a classifier's encoder
// PEFT adds both names to every SEQ_CLS adapter; BERT has the first.
constexpr const char* kHeadNames[] = {"classifier", "score"};

// Layer that a module belongs to; `head_segment` for what comes behind the layers.
int64_t SegmentOf(const std::string& module, int64_t head_segment) {
  if (!absl::StartsWith(module, kLayerPrefix)) return head_segment;
  const std::vector<std::string> parts = absl::StrSplit(module, '.');
  int64_t layer = head_segment;
  return absl::SimpleAtoi(parts[2], &layer) ? layer : head_segment;
}

// New weights are drawn on the CPU, so that every device starts from the same.
class Initializer {
 public:
  Initializer(uint64_t seed, const at::Device& device) : seed_(seed), device_(device) {}

  // torch's kaiming_uniform_(a = sqrt(5)): uniform within 1 / sqrt(in).
  at::Tensor Uniform(int64_t rows, int64_t in) {
    at::Tensor value = at::empty({rows, in}, at::kFloat);
    const double bound = 1 / std::sqrt(static_cast<double>(in));
    return value.uniform_(-bound, bound, Next()).to(device_);
  }
  at::Tensor Normal(int64_t rows, int64_t in, double deviation) {
    at::Tensor value = at::empty({rows, in}, at::kFloat);
    return value.normal_(0, deviation, Next()).to(device_);
  }
  at::Tensor Zeros(at::IntArrayRef shape) const {
    return at::zeros(shape, at::TensorOptions().dtype(at::kFloat).device(device_));
  }

 private:
  at::Generator Next() { return at::detail::createCPUGenerator(StreamKey(seed_, Stream::kInit, {count_++})); }

  uint64_t seed_;
  at::Device device_;
  uint64_t count_ = 0;
};

SavedModule NewHead(Initializer& init, int64_t labels, int64_t features, double initializer_range) {
  return {init.Normal(labels, features, initializer_range), init.Zeros({labels})};
}

at::Tensor Copy(const at::Tensor& value, const at::Device& device) {
  return value.defined() ? value.detach().to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true) : value;
}

// Takes the weights that `initial` has under the same names; both must have the same shapes.
absl::Status TakeInitial(const AdapterTensors& initial, const at::Device& device, AdapterTensors& adapter) {
  const auto take = [&](const std::string& name, const at::Tensor& from, at::Tensor& to) {
    if (from.defined() != to.defined() || (to.defined() && from.sizes() != to.sizes())) {
      return TenonError(Reason::kAdapterInvalid, absl::StrCat("the initial adapter's ", name, " has another shape"),
                        name);
    }
    to = Copy(from, device);
    return absl::OkStatus();
  };
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
  for (auto& [name, module] : adapter.modules) {
    const auto found = initial.modules.find(name);
    if (found == initial.modules.end()) continue;  // a feature-extraction adapter starts with a new head
    RETURN_IF_ERROR(take(name, found->second.weight, module.weight));
    RETURN_IF_ERROR(take(name, found->second.bias, module.bias));
  }
  return absl::OkStatus();
}

// The head, which is always trained whole, and what the job names beside it: linear layers alone.
absl::StatusOr<std::vector<std::string>> ModulesToSave(const Encoder& encoder, const formats::LoraConfig& lora) {
  std::vector<std::string> names(std::begin(kHeadNames), std::end(kHeadNames));
  for (const std::string& name : lora.modules_to_save) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    const auto& layers = encoder.linear_layers();
    const bool known = std::any_of(layers.begin(), layers.end(), [&](const auto& layer) {
      return formats::SavesModule(name, kTaskPrefix + layer.first);
    });
    if (!known) {
      return TenonError(Reason::kUnsupported,
                        absl::StrCat("modules_to_save \"", name, "\" names no linear layer of the base"),
                        "modules_to_save");
    }
    names.push_back(name);
  }
  return names;
}

// Calls visit(parameter name, module name, tensor, whether it is a matrix) for every tensor, in a fixed order.
template <typename Visit>
void VisitTensors(AdapterTensors& adapter, Visit visit) {
  for (auto& [module, pair] : adapter.pairs) {
    visit(module + ".lora_A", module, pair.a, true);
    visit(module + ".lora_B", module, pair.b, true);
  }
  for (auto& [module, saved] : adapter.modules) {
    visit(module + ".weight", module, saved.weight, true);
    if (saved.bias.defined()) visit(module + ".bias", module, saved.bias, false);
  }
}

}  // namespace

absl::StatusOr<TrainableAdapter> TrainableAdapter::Make(const Encoder& encoder, const TrainOptions& options,
                                                        const formats::TenonConfig& config,
                                                        const AdapterTensors* initial) {
  TrainableAdapter made;
  made.adapter_.config = config;
  made.adapter_.lora = options.lora;
  made.adapter_.lora.task_type = "SEQ_CLS";
  ASSIGN_OR_RETURN(made.adapter_.lora.modules_to_save, ModulesToSave(encoder, options.lora));
  Initializer init(options.seed, encoder.device());
  for (const auto& [module, shape] : encoder.linear_layers()) {
    const std::string hf_name = kTaskPrefix + module;
    if (formats::SavesModule(made.adapter_.lora, hf_name)) {
      auto [weight, bias] = encoder.CopyLinear(module);
      made.adapter_.modules[module] = {std::move(weight), std::move(bias)};
      continue;
    }
    const auto target = formats::MatchLora(made.adapter_.lora, hf_name);
    if (!target.has_value()) continue;
    made.adapter_.pairs[module] = {init.Uniform(target->r, shape.second), init.Zeros({shape.first, target->r}),
                                   target->scale};
  }
  if (made.adapter_.pairs.empty()) {
    return TenonError(Reason::kOptionInvalid, "target_modules match no layer of the base", "target_modules");
  }
  const auto labels = static_cast<int64_t>(config.labels.size());
  const formats::BertConfig& base = encoder.config();
  made.adapter_.modules["classifier"] = NewHead(init, labels, base.hidden_size, base.initializer_range);
  if (initial != nullptr) RETURN_IF_ERROR(TakeInitial(*initial, encoder.device(), made.adapter_));
  made.Register(base.num_hidden_layers);
  return made;
}

absl::StatusOr<TrainableAdapter> TrainableAdapter::MakeHead(int64_t features, double initializer_range, uint64_t seed,
                                                            const at::Device& device,
                                                            const formats::TenonConfig& config,
                                                            const AdapterTensors* initial) {
  TrainableAdapter made;
  made.adapter_.config = config;
  Initializer init(seed, device);
  const auto labels = static_cast<int64_t>(config.labels.size());
  made.adapter_.modules["classifier"] = NewHead(init, labels, features, initializer_range);
  if (initial != nullptr) RETURN_IF_ERROR(TakeInitial(*initial, device, made.adapter_));
  made.Register(0);
  return made;
}

int64_t TrainableAdapter::lowest_segment() const {
  const auto lower = [](const Parameter& a, const Parameter& b) { return a.segment < b.segment; };
  return std::min_element(parameters_.begin(), parameters_.end(), lower)->segment;
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
  hooks.replaces = [this](const std::string& module) { return adapter_.modules.count(module) > 0; };
  hooks.low_rank = [this, next = hooks.dropout](const std::string& module) -> std::optional<LowRank> {
    const auto found = adapter_.pairs.find(module);
    if (found == adapter_.pairs.end()) return std::nullopt;
    const LoraPair& pair = found->second;
    return LowRank{pair.a, pair.b, pair.scale, 0, next(adapter_.lora.dropout)};
  };
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

void TrainableAdapter::Register(int64_t head_segment) {
  VisitTensors(adapter_, [&](const std::string& name, const std::string& module, at::Tensor& tensor, bool matrix) {
    tensor = tensor.contiguous().set_requires_grad(true);
    parameters_.push_back({name, tensor, at::Tensor(), SegmentOf(module, head_segment), matrix});
  });
}

}  // namespace tenon::engine
