#include "worker/engine/model/packed_linear.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <optional>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace tenon::engine {
namespace {

using ReorderOp = at::Tensor(const at::Tensor&, std::optional<int64_t>);
using LinearOp = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, c10::string_view,
                            c10::List<std::optional<at::Scalar>>, std::optional<c10::string_view>);

constexpr char kReorder[] = "mkldnn::_reorder_linear_weight";
constexpr char kLinear[] = "mkldnn::_linear_pointwise";

// What a batch of requests looks like. The best of a few runs, taken in turns, so that a moment's load on the machine
// hits both.
constexpr int64_t kTokens = 512;
constexpr int kRuns = 7;
// A packed copy takes memory: it must be worth it.
constexpr double kWorthIt = 0.95;

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

bool KernelChoice::PreferPacked(const at::Tensor& weight, const at::Tensor& bias, Activation activation) {
  if (!weight.device().is_cpu() || !HavePackedLinear()) return false;
  const auto [place, added] = known_.emplace(std::make_tuple(weight.size(1), weight.size(0), activation), false);
  if (!added) return place->second;
  const at::Tensor x = at::full({kTokens, weight.size(1)}, 0.5, weight.options());
  const at::Tensor packed = PackWeight(weight);
  const auto plain = [&] { return Activate(at::linear(x, weight, bias), activation); };
  const auto fast = [&] { return PackedLinear(x, packed, bias, activation); };
  plain();
  fast();
  double plain_best = 1e9, fast_best = 1e9;
  for (int run = 0; run < kRuns; ++run) {
    plain_best = std::min(plain_best, Seconds(plain));
    fast_best = std::min(fast_best, Seconds(fast));
  }
  return place->second = fast_best < kWorthIt * plain_best;
}

}  // namespace tenon::engine
