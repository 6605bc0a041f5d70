#include "worker/engine/model/packed_linear.h"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "worker/engine/model/parallel.h"
#include "worker/engine/model/row_inference.h"

namespace tenon::engine {
namespace {

using ReorderOp = at::Tensor(const at::Tensor&, std::optional<int64_t>);
using LinearOp = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, c10::string_view,
                            c10::List<std::optional<at::Scalar>>, std::optional<c10::string_view>);

constexpr char kReorder[] = "mkldnn::_reorder_linear_weight";
constexpr char kLinear[] = "mkldnn::_linear_pointwise";

// What a batch of requests looks like. The best of a few runs, taken in turns, so that a moment's load on the machine
// hits both.
constexpr int64_t kTokens = 384;
constexpr int kRuns = 7;
// A packed copy takes memory: it must be worth it.
constexpr double kWorthIt = 0.95;
// Panels also spare what surrounds the products: rounding, compiling a kernel for each size, groups of like length.
constexpr double kWorthPanels = 0.9;

// What is not on this machine.
constexpr double kNever = std::numeric_limits<double>::infinity();

template <typename Function>
double Seconds(const Function& function) {
  const absl::Time start = absl::Now();
  function();
  return absl::ToDoubleSeconds(absl::Now() - start);
}

}  // namespace

bool HavePackedLinear() {
  static const bool have = c10::Dispatcher::singleton().findSchema({kReorder, ""}).has_value() &&
                           c10::Dispatcher::singleton().findSchema({kLinear, ""}).has_value();
  return have;
}

at::Tensor PackWeight(const at::Tensor& weight) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(kReorder, "").typed<ReorderOp>();
  return op.call(weight, std::nullopt);
}

at::Tensor PackedLinear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias, Activation activation) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(kLinear, "").typed<LinearOp>();
  c10::string_view attribute = "none";
  std::optional<c10::string_view> algorithm;
  if (activation == Activation::kRelu) attribute = "relu";
  if (activation == Activation::kGelu || activation == Activation::kGeluTanh) {
    attribute = "gelu";
    algorithm = activation == Activation::kGelu ? "none" : "tanh";
  }
  return op.call(x, packed, bias, attribute, c10::List<std::optional<at::Scalar>>(), algorithm);
}

const KernelChoice::Times& KernelChoice::Measure(const at::Tensor& weight, const at::Tensor& bias,
                                                 Activation activation) {
  const auto [place, added] = known_.emplace(std::make_tuple(weight.size(1), weight.size(0), activation), Times{});
  Times& best = place->second;
  if (!added) return best;
  best = {kNever, kNever, {}};
  // As serving computes: the library's threads share one product, panels leave each thread its own lines. (oneDNN must
  // not run within a parallel loop: what it makes for one thread there, it later gives to many.)
  const int64_t threads = at::get_num_threads();
  const bool steps = step_lines_ > 0;
  const at::Tensor x = at::full({steps ? step_lines_ : threads * kTokens, weight.size(1)}, 0.5, weight.options());
  const at::Tensor lines =
      at::full({steps ? step_lines_ : kTokens, weight.size(1)}, 0.5, weight.options().dtype(at::kFloat));
  const at::Tensor packed = HavePackedLinear() ? PackWeight(weight) : at::Tensor();
  std::map<PanelFormat, PanelWeight> panels;
  for (const PanelFormat format : {PanelFormat::kFp32, PanelFormat::kBf16}) {
    if (!PanelWeight::Supported(format)) continue;
    if (format == PanelFormat::kBf16 && weight.scalar_type() != at::kBFloat16) continue;
    panels[format] = PackPanels(weight, bias, format);
    best.panels[format] = kNever;
  }
  // Each product is a piece of work of its own: what else the device has to do waits for no more than one.
  const auto measure = [&](int run, double& seconds, const std::function<void()>& product) {
    double took = kNever;  // so it stays when the worker goes down
    const auto timed = [&] { took = Seconds(product); };
    if (run_alone_) {
      run_alone_(timed);
    } else {
      timed();
    }
    if (run > 0) seconds = std::min(seconds, took);  // the first one compiles and warms
  };
  for (int run = 0; run <= kRuns; ++run) {
    measure(run, best.library, [&] { Activate(at::linear(x, weight, bias), activation); });
    if (packed.defined()) measure(run, best.packed, [&] { PackedLinear(x, packed, bias, activation); });
    for (const auto& [format, packed_panels] : panels) {
      const PanelWeight& weights = packed_panels;
      if (steps) {
        measure(run, best.panels[format], [&] { PanelLinear(lines, weights, activation, 0, weights.panels()); });
        continue;
      }
      measure(run, best.panels[format], [&] {
        ParallelFor(threads, 1, [&](int64_t, int64_t) {
          const c10::InferenceMode inference;
          PanelLinear(lines, weights, activation, 0, weights.panels());
        });
      });
    }
  }
  return best;
}

bool KernelChoice::PreferPacked(const at::Tensor& weight, const at::Tensor& bias, Activation activation) {
  if (!weight.device().is_cpu()) return false;
  const Times& best = Measure(weight, bias, activation);
  return best.packed < kWorthIt * best.library;
}

ProductKind KernelChoice::Fastest(const Layer& layer) {
  if (!layer.weight.device().is_cpu()) return ProductKind::kLibrary;
  const Times& best = Measure(layer.weight, layer.bias, layer.activation);
  const auto found = best.panels.find(PanelFormat::kFp32);
  const double panels = found == best.panels.end() ? kNever : found->second;
  if (std::min(best.packed, panels) >= kWorthIt * best.library) return ProductKind::kLibrary;
  return panels < best.packed ? ProductKind::kPanels : ProductKind::kPacked;
}

std::optional<PanelFormat> KernelChoice::PreferPanels(const std::vector<Layer>& layers) {
  if (!PanelWeight::Supported() || layers.empty() || !layers[0].weight.device().is_cpu()) return std::nullopt;
  std::map<PanelFormat, double> panels;
  double other = 0;
  for (const Layer& layer : layers) {
    const Times& best = Measure(layer.weight, layer.bias, layer.activation);
    for (const auto& [format, seconds] : best.panels) panels[format] += seconds;
    other += std::min(best.library, best.packed);
  }
  const auto by_time = [](const auto& a, const auto& b) { return a.second < b.second; };
  const auto best = std::min_element(panels.begin(), panels.end(), by_time);
  if (best == panels.end() || kWorthPanels * best->second >= other) return std::nullopt;
  return best->first;
}

}  // namespace tenon::engine
