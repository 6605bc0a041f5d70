#include "worker/engine/spans/answers.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

namespace tenon::engine {
namespace {

constexpr size_t kBest = 20;  // of beginnings and of ends in a window, and of answers

struct Candidate {
  TextPlace place;
  double sum = 0;
};

// Tokens of the window's context with the highest logits, best first; `column` 0 of a beginning, 1 of an end.
std::vector<size_t> Highest(const AnswerWindow& window, const std::vector<float>& row, size_t column) {
  std::vector<size_t> tokens(window.count);
  std::iota(tokens.begin(), tokens.end(), size_t{0});
  const auto better = [&](size_t a, size_t b) {
    const float x = row[2 * (window.row_place + a) + column], y = row[2 * (window.row_place + b) + column];
    return x > y || (x == y && a < b);
  };
  const size_t kept = std::min(kBest, tokens.size());
  std::partial_sort(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(kept), tokens.end(), better);
  tokens.resize(kept);
  return tokens;
}

}  // namespace

FoundAnswers FindAnswers(const AnswerWindows& made, absl::Span<const std::vector<float>* const> rows,
                         const AnswerOptions& options) {
  double none = std::numeric_limits<double>::infinity();
  // Windows share tokens: each place counts once, with its best sum.
  std::map<std::pair<size_t, size_t>, double> sums;
  for (size_t w = 0; w < made.windows.size(); ++w) {
    const AnswerWindow& window = made.windows[w];
    const std::vector<float>& row = *rows[w];
    none = std::min(none, static_cast<double>(row[0]) + row[1]);
    const std::vector<size_t> ends = Highest(window, row, 1);
    for (const size_t first : Highest(window, row, 0)) {
      for (const size_t last : ends) {
        if (last < first || static_cast<int64_t>(last - first) >= options.max_answer_tokens) continue;
        const TextPlace from = made.context.places[window.first + first], to = made.context.places[window.first + last];
        if (to.end <= from.begin) continue;
        const double sum =
            static_cast<double>(row[2 * (window.row_place + first)]) + row[2 * (window.row_place + last) + 1];
        const auto [found, added] = sums.emplace(std::make_pair(from.begin, to.end), sum);
        if (!added) found->second = std::max(found->second, sum);
      }
    }
  }
  std::vector<Candidate> candidates;
  for (const auto& [place, sum] : sums) candidates.push_back({{place.first, place.second}, sum});
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.sum > b.sum; });
  if (candidates.size() > kBest) candidates.resize(kBest);

  FoundAnswers found;
  if (candidates.empty()) {
    found.no_answer = true;
    return found;
  }
  found.no_answer_score = none - candidates.front().sum;
  found.no_answer = options.no_answer_threshold.has_value() && found.no_answer_score > *options.no_answer_threshold;
  const double most =
      std::max(candidates.front().sum, options.no_answer_threshold.has_value() ? none : candidates.front().sum);
  double total = options.no_answer_threshold.has_value() ? std::exp(none - most) : 0;
  for (const Candidate& one : candidates) total += std::exp(one.sum - most);
  for (const Candidate& one : candidates) {
    if (static_cast<int64_t>(found.best.size()) == options.top_k) break;
    found.best.push_back({one.place, std::exp(one.sum - most) / total});
  }
  return found;
}

}  // namespace tenon::engine
