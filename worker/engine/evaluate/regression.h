// Scores of numbers that a model gives. No torch.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace tenon::engine {

// Each of them the mean over the outputs.
struct RegressionScores {
  double mse = 0;
  // scipy's pearsonr and spearmanr. None where one of the outputs, or its truth, is the same in every row: there is no
  // correlation then.
  std::optional<double> pearson, spearman;
  int64_t rows = 0;
};

// Pearson's correlation of two lists of one length; none where either is constant, or shorter than two.
std::optional<double> Pearson(const std::vector<double>& a, const std::vector<double>& b);
// Spearman's: Pearson's of the ranks, equal values sharing the mean of theirs.
std::optional<double> Spearman(const std::vector<double>& a, const std::vector<double>& b);

// Feeds rows one by one, and keeps their numbers.
class RegressionEvaluator {
 public:
  explicit RegressionEvaluator(int64_t outputs) : truth_(outputs), predicted_(outputs) {}
  // Both [outputs].
  void Add(const std::vector<float>& truth, const std::vector<float>& predicted);
  RegressionScores Finish() const;

 private:
  std::vector<std::vector<double>> truth_, predicted_;  // [outputs][rows]
};

}  // namespace tenon::engine
