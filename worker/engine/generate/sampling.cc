#include "worker/engine/generate/sampling.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace tenon::engine {
namespace {

constexpr float kImpossible = -std::numeric_limits<float>::infinity();

// A number of each row's plan as a column [rows, 1].
template <typename Function>
at::Tensor Column(absl::Span<const SampleRow> rows, const at::Device& device, Function&& function) {
  std::vector<float> values;
  for (const SampleRow& row : rows) values.push_back(static_cast<float>(function(*row.plan)));
  return at::from_blob(values.data(), {static_cast<int64_t>(values.size()), 1}, at::TensorOptions().dtype(at::kFloat))
      .to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
}

template <typename Function>
bool Any(absl::Span<const SampleRow> rows, Function&& function) {
  return std::any_of(rows.begin(), rows.end(), [&](const SampleRow& row) { return function(*row.plan); });
}

at::Tensor Places(const std::vector<int64_t>& rows, const at::Device& device) {
  return at::from_blob(const_cast<int64_t*>(rows.data()), {static_cast<int64_t>(rows.size())},
                       at::TensorOptions().dtype(at::kLong))
      .to(device, at::kLong, false, /*copy=*/true);
}

// Keeps the smallest set of the likeliest tokens whose mass reaches top_p; at least the likeliest.
void KeepTopP(at::Tensor& scores, absl::Span<const SampleRow> rows) {
  if (!Any(rows, [](const GenerationPlan& plan) { return plan.top_p < 1; })) return;
  const auto [sorted, order] = scores.sort(-1, /*descending=*/false);
  // Mass up to and with each token, from the unlikeliest on. A row that keeps all has a bound that no mass is below.
  const at::Tensor bound =
      Column(rows, scores.device(), [](const GenerationPlan& plan) { return plan.top_p < 1 ? 1 - plan.top_p : -1; });
  at::Tensor drop = at::softmax(sorted, -1).cumsum(-1) <= bound;
  drop.select(1, -1).fill_(false);
  scores.masked_fill_(drop.scatter(1, order, drop), kImpossible);
}

// Keeps the tokens whose information is nearest to the row's entropy, until their mass reaches typical_p.
void KeepTypical(at::Tensor& scores, absl::Span<const SampleRow> rows) {
  if (!Any(rows, [](const GenerationPlan& plan) { return plan.typical_p < 1; })) return;
  const at::Tensor log_probs = at::log_softmax(scores, -1);
  const at::Tensor entropy = -(log_probs * log_probs.exp()).nansum(-1, /*keepdim=*/true);
  const auto [distance, order] = (-log_probs - entropy).abs().sort(-1, /*descending=*/false);
  const at::Tensor mass = at::softmax(scores.gather(-1, order), -1).cumsum(-1);
  const at::Tensor bound = Column(rows, scores.device(), [](const GenerationPlan& plan) {
    return plan.typical_p < 1 ? plan.typical_p : std::numeric_limits<float>::infinity();
  });
  const at::Tensor last = (mass < bound).sum(1, /*keepdim=*/true).clamp_max(scores.size(1) - 1);
  at::Tensor drop = distance > distance.gather(1, last);
  drop.select(1, 0).fill_(false);
  drop.logical_and_(at::isfinite(bound));
  scores.masked_fill_(drop.scatter(1, order, drop), kImpossible);
}

// Inverse of the distribution function, in double: the first token at which the mass passes `uniform` of the whole.
void DrawRows(const at::Tensor& scores, const at::Tensor& ids, absl::Span<const SampleRow> rows,
              absl::Span<const int64_t> places, std::vector<std::vector<Choice>>& draws) {
  const at::Tensor mass = at::softmax(scores, -1, at::kDouble).cumsum(-1).cpu();
  const at::Tensor own = at::log_softmax(scores, -1).cpu();
  const at::Tensor tokens = ids.defined() ? ids.cpu() : ids;
  const int64_t count = scores.size(1);
  for (int64_t r = 0; r < scores.size(0); ++r) {
    const double* up_to = mass.const_data_ptr<double>() + r * count;
    const double whole = up_to[count - 1];
    for (const double uniform : rows[static_cast<size_t>(r)].uniforms) {
      Choice& draw = draws[static_cast<size_t>(places[static_cast<size_t>(r)])].emplace_back();
      if (!(whole > 0)) continue;  // not a number: nothing is possible
      const double target = std::min(uniform * whole, std::nextafter(whole, 0.0));
      const int64_t at = std::upper_bound(up_to, up_to + count, target) - up_to;
      draw.token = static_cast<int32_t>(tokens.defined() ? tokens.const_data_ptr<int64_t>()[r * count + at] : at);
      draw.log_prob = own.const_data_ptr<float>()[r * count + at];
    }
  }
}

// How many tokens each row keeps after top-k: k, more where the last of them has equals, or all.
std::vector<int64_t> KeptByTopK(const at::Tensor& scores, absl::Span<const SampleRow> rows) {
  const int64_t vocab = scores.size(1);
  std::vector<int64_t> kept(rows.size(), vocab);
  std::map<int64_t, std::vector<int64_t>> by_k;
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t k = rows[i].plan->top_k;
    if (k > 0 && k < vocab) by_k[k].push_back(static_cast<int64_t>(i));
  }
  for (const auto& [k, members] : by_k) {
    const at::Tensor some = scores.index_select(0, Places(members, scores.device()));
    const at::Tensor least = std::get<0>(some.topk(k, -1)).narrow(1, k - 1, 1);
    const at::Tensor counts = (some >= least).sum(1).cpu();
    for (size_t i = 0; i < members.size(); ++i) {
      kept[static_cast<size_t>(members[i])] = counts.const_data_ptr<int64_t>()[i];
    }
  }
  return kept;
}

}  // namespace

std::vector<std::vector<Choice>> Sample(at::Tensor scores, absl::Span<const SampleRow> rows) {
  if (Any(rows, [](const GenerationPlan& plan) { return plan.temperature != 1; })) {
    scores.div_(Column(rows, scores.device(), [](const GenerationPlan& plan) { return plan.temperature; }));
  }
  // Rows that keep equally many go on together, as short rows of what they keep: then nothing of a row's arithmetic
  // depends on who its neighbours are.
  std::map<int64_t, std::vector<int64_t>> by_count;
  const std::vector<int64_t> kept = KeptByTopK(scores, rows);
  for (size_t i = 0; i < kept.size(); ++i) by_count[kept[i]].push_back(static_cast<int64_t>(i));
  std::vector<std::vector<Choice>> draws(rows.size());
  for (const auto& [count, members] : by_count) {
    std::vector<SampleRow> some;
    for (const int64_t i : members) some.push_back(rows[static_cast<size_t>(i)]);
    at::Tensor values = scores.index_select(0, Places(members, scores.device())), ids;
    if (count < scores.size(1)) std::tie(values, ids) = values.topk(count, -1);
    KeepTopP(values, some);
    KeepTypical(values, some);
    DrawRows(values, ids, some, members, draws);
  }
  return draws;
}

}  // namespace tenon::engine
