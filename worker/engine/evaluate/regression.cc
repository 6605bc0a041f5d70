#include "worker/engine/evaluate/regression.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace tenon::engine {
namespace {

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

bool IsConstant(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [&](double value) { return value == values.front(); });
}

// From 1; equal values share the mean of the ranks that they take.
std::vector<double> Ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double shared = static_cast<double>(begin + 1 + end) / 2;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = shared;
    begin = end;
  }
  return ranks;
}

// The mean over the outputs of what `correlation` says of each.
template <typename Correlation>
std::optional<double> MeanOf(const std::vector<std::vector<double>>& truth,
                             const std::vector<std::vector<double>>& predicted, Correlation correlation) {
  double sum = 0;
  for (size_t output = 0; output < truth.size(); ++output) {
    const std::optional<double> one = correlation(truth[output], predicted[output]);
    if (!one.has_value()) return std::nullopt;
    sum += *one;
  }
  return sum / static_cast<double>(truth.size());
}

}  // namespace

std::optional<double> Pearson(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() < 2 || IsConstant(a) || IsConstant(b)) return std::nullopt;
  const double mean_a = Mean(a), mean_b = Mean(b);
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double from_a = a[i] - mean_a, from_b = b[i] - mean_b;
    ab += from_a * from_b;
    aa += from_a * from_a;
    bb += from_b * from_b;
  }
  // Rounding may take it past 1.
  return std::clamp(ab / (std::sqrt(aa) * std::sqrt(bb)), -1.0, 1.0);
}

std::optional<double> Spearman(const std::vector<double>& a, const std::vector<double>& b) {
  return Pearson(Ranks(a), Ranks(b));
}

void RegressionEvaluator::Add(const std::vector<float>& truth, const std::vector<float>& predicted) {
  for (size_t output = 0; output < truth_.size(); ++output) {
    truth_[output].push_back(truth[output]);
    predicted_[output].push_back(predicted[output]);
  }
}

RegressionScores RegressionEvaluator::Finish() const {
  RegressionScores scores;
  scores.rows = truth_.empty() ? 0 : static_cast<int64_t>(truth_.front().size());
  if (scores.rows == 0) return scores;
  double squares = 0;
  for (size_t output = 0; output < truth_.size(); ++output) {
    for (size_t row = 0; row < truth_[output].size(); ++row) {
      const double off = predicted_[output][row] - truth_[output][row];
      squares += off * off;
    }
  }
  scores.mse = squares / static_cast<double>(scores.rows) / static_cast<double>(truth_.size());
  scores.pearson = MeanOf(truth_, predicted_, Pearson);
  scores.spearman = MeanOf(truth_, predicted_, Spearman);
  return scores;
}

}  // namespace tenon::engine
