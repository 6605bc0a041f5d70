#include "worker/engine/evaluate/classification.h"

#include <algorithm>

namespace tenon::engine {
namespace {

double Ratio(double part, double whole) { return whole == 0 ? 0 : part / whole; }

double F1(double true_positive, double predicted, double actual) {
  return Ratio(2 * true_positive, predicted + actual);
}

}  // namespace

ClassificationEvaluator::ClassificationEvaluator(int64_t num_labels, bool multi_label)
    : num_labels_(num_labels),
      multi_label_(multi_label),
      confusion_(multi_label ? 0 : num_labels * num_labels),
      true_positive_(num_labels),
      predicted_(num_labels),
      actual_(num_labels) {}

void ClassificationEvaluator::Add(const std::vector<int64_t>& truth, const std::vector<float>& probabilities) {
  if (!multi_label_) {
    const auto best = std::max_element(probabilities.begin(), probabilities.begin() + num_labels_);
    return AddChoice(truth.front(), static_cast<int64_t>(best - probabilities.begin()));
  }
  ++rows_;
  std::vector<bool> is_true(num_labels_), is_predicted(num_labels_);
  for (const int64_t label : truth) is_true[label] = true;
  for (int64_t i = 0; i < num_labels_; ++i) is_predicted[i] = probabilities[i] > 0.5f;
  exact_ += is_true == is_predicted;
  for (int64_t i = 0; i < num_labels_; ++i) {
    true_positive_[i] += is_true[i] && is_predicted[i];
    predicted_[i] += is_predicted[i];
    actual_[i] += is_true[i];
  }
}

void ClassificationEvaluator::AddChoice(int64_t truth, int64_t predicted) {
  ++rows_;
  ++actual_[truth];
  if (predicted < 0) return;
  ++predicted_[predicted];
  ++confusion_[truth * num_labels_ + predicted];
  exact_ += truth == predicted;
  true_positive_[truth] += truth == predicted;
}

ClassificationScores ClassificationEvaluator::Finish() const {
  ClassificationScores scores;
  scores.rows = rows_;
  scores.confusion = confusion_;
  scores.accuracy = Ratio(static_cast<double>(exact_), static_cast<double>(rows_));
  double true_positive = 0, predicted = 0, actual = 0;
  for (int64_t i = 0; i < num_labels_; ++i) {
    const auto tp = static_cast<double>(true_positive_[i]);
    const auto p = static_cast<double>(predicted_[i]), a = static_cast<double>(actual_[i]);
    scores.classes.push_back({Ratio(tp, p), Ratio(tp, a), F1(tp, p, a), actual_[i]});
    scores.macro_f1 += scores.classes.back().f1;
    scores.weighted_f1 += scores.classes.back().f1 * a;
    true_positive += tp;
    predicted += p;
    actual += a;
  }
  scores.macro_f1 = Ratio(scores.macro_f1, static_cast<double>(num_labels_));
  scores.weighted_f1 = Ratio(scores.weighted_f1, actual);
  scores.micro_f1 = F1(true_positive, predicted, actual);
  return scores;
}

}  // namespace tenon::engine
