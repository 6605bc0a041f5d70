#include "worker/engine/generate/sampling.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "worker/engine/generate/candidates.h"
#include "worker/engine/generate/scores.h"

namespace tenon::engine {
namespace {

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

// What a row draws from: its tokens and their scores, [tokens]. All of the vocabulary where `tokens` is empty.
struct Pool {
  std::vector<int32_t> tokens;
  std::vector<float> scores;
};

// The k best tokens of a row and all that equal the last of them, best first.
Pool KeepTopK(const at::Tensor& row, int64_t k) {
  for (int64_t width = k + 1;; width *= 2) {
    const std::vector<BeamCandidate> best = BestCandidates(row, {0.0f}, width);
    Pool pool;
    for (const BeamCandidate& one : best) {
      const int64_t kept = static_cast<int64_t>(pool.scores.size());
      if (kept >= k && one.score != pool.scores.back()) return pool;
      pool.tokens.push_back(one.token);
      pool.scores.push_back(one.score);
    }
    if (static_cast<int64_t>(best.size()) < width) return pool;  // the others are impossible
  }
}

// Inverse of the distribution function, in double: the first token at which the mass passes `uniform` of the whole.
void DrawRow(const float* chances, int64_t count, const std::vector<int32_t>& tokens,
             const std::vector<double>& uniforms, std::vector<Choice>& draws) {
  std::vector<double> mass(static_cast<size_t>(count));
  double whole = 0;
  for (int64_t i = 0; i < count; ++i) mass[static_cast<size_t>(i)] = whole += chances[i];
  for (const double uniform : uniforms) {
    Choice& draw = draws.emplace_back();
    if (!(whole > 0)) continue;  // not a number: nothing is possible
    const double target = std::min(uniform * whole, std::nextafter(whole, 0.0));
    const size_t at = static_cast<size_t>(std::upper_bound(mass.begin(), mass.end(), target) - mass.begin());
    draw.token = tokens.empty() ? static_cast<int32_t>(at) : tokens[at];
    draw.log_prob = std::log(chances[at]);
  }
}

// Draws for `members` of the rows, whose scores are [members, count].
void DrawRows(at::Tensor scores, absl::Span<const SampleRow> rows, const std::vector<Pool>& pools,
              const std::vector<size_t>& members, std::vector<std::vector<Choice>>& draws) {
  std::vector<SampleRow> own;
  for (const size_t i : members) own.push_back(rows[i]);
  KeepTopP(scores, own);
  KeepTypical(scores, own);
  const at::Tensor chances = at::softmax(scores, -1).cpu();
  const float* row = chances.const_data_ptr<float>();
  for (const size_t i : members) {
    DrawRow(row, chances.size(1), pools[i].tokens, rows[i].uniforms, draws[i]);
    row += chances.size(1);
  }
}

at::Tensor Selected(const at::Tensor& scores, const std::vector<size_t>& members) {
  const std::vector<int64_t> rows(members.begin(), members.end());
  return scores.index_select(0, at::from_blob(const_cast<int64_t*>(rows.data()), {static_cast<int64_t>(rows.size())},
                                              at::TensorOptions().dtype(at::kLong))
                                    .to(scores.device()));
}

at::Tensor Stacked(const std::vector<Pool>& pools, const std::vector<size_t>& members) {
  std::vector<float> values;
  for (const size_t i : members) values.insert(values.end(), pools[i].scores.begin(), pools[i].scores.end());
  const int64_t rows = static_cast<int64_t>(members.size());
  return at::from_blob(values.data(), {rows, static_cast<int64_t>(values.size()) / rows},
                       at::TensorOptions().dtype(at::kFloat))
      .clone();
}

}  // namespace

std::vector<std::vector<Choice>> Sample(at::Tensor scores, absl::Span<const SampleRow> rows) {
  if (Any(rows, [](const GenerationPlan& plan) { return plan.temperature != 1; })) {
    scores.div_(Column(rows, scores.device(), [](const GenerationPlan& plan) { return plan.temperature; }));
  }
  // Rows that keep equally many tokens go on together: then nothing of a row's arithmetic depends on its neighbours.
  const int64_t vocab = scores.size(1);
  std::vector<Pool> pools(rows.size());
  std::map<size_t, std::vector<size_t>> by_count;
  std::vector<size_t> whole;
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t k = rows[i].plan->top_k;
    if (k == 0 || k >= vocab) {
      whole.push_back(i);
      continue;
    }
    pools[i] = KeepTopK(scores.narrow(0, static_cast<int64_t>(i), 1), k);
    by_count[pools[i].tokens.size()].push_back(i);
  }
  std::vector<std::vector<Choice>> draws(rows.size());
  if (!whole.empty()) DrawRows(Selected(scores, whole), rows, pools, whole, draws);
  for (const auto& [count, members] : by_count) {
    if (count > 0) {
      DrawRows(Stacked(pools, members), rows, pools, members, draws);
    } else {  // nothing is possible
      for (const size_t i : members) draws[i].resize(rows[i].uniforms.size());
    }
  }
  return draws;
}

}  // namespace tenon::engine
