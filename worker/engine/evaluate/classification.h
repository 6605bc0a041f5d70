// Classification scores on a fixed label set. No torch.
//
// Precision, recall and F1 are 0 where they divide by zero; macro F1 is the mean over all labels of the set, whether or
// not they occur (scikit-learn: f1_score(labels=range(n), average="macro", zero_division=0)).
#pragma once

#include <cstdint>
#include <vector>

namespace tenon::engine {

struct ClassScore {
  double precision = 0, recall = 0, f1 = 0;
  int64_t support = 0;
};

struct ClassificationScores {
  double accuracy = 0;  // exact match of the whole set for multi-label
  double macro_f1 = 0, micro_f1 = 0, weighted_f1 = 0;
  std::vector<ClassScore> classes;
  std::vector<int64_t> confusion;  // row-major [true, predicted]; empty for multi-label
  int64_t rows = 0;
};

// Feeds rows one by one.
class ClassificationEvaluator {
 public:
  ClassificationEvaluator(int64_t num_labels, bool multi_label);
  // `probabilities` [num_labels]; multi-label predicts those above 0.5.
  void Add(const std::vector<int64_t>& truth, const std::vector<float>& probabilities);
  // A row of one label whose predicted label is known, or -1: no label at all, which is wrong.
  void AddChoice(int64_t truth, int64_t predicted);
  ClassificationScores Finish() const;

 private:
  int64_t num_labels_;
  bool multi_label_;
  int64_t rows_ = 0, exact_ = 0;
  std::vector<int64_t> confusion_;
  std::vector<int64_t> true_positive_, predicted_, actual_;
};

}  // namespace tenon::engine
