#include "worker/engine/evaluate/tags.h"

#include <set>

#include "common/formats/bio.h"

namespace tenon::engine {
namespace {

double Ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

ClassScore ScoreOf(int64_t right, int64_t predicted, int64_t actual) {
  return {Ratio(right, predicted), Ratio(right, actual), Ratio(2 * right, predicted + actual), actual};
}

}  // namespace

void TagEvaluator::Add(const std::vector<std::string>& truth, const std::vector<std::string>& predicted) {
  ++rows_;
  for (size_t i = 0; i < truth.size(); ++i) right_words_ += truth[i] == predicted[i];
  words_ += static_cast<int64_t>(truth.size());
  const std::vector<formats::Entity> wanted = formats::Entities(truth), found = formats::Entities(predicted);
  const std::set<formats::Entity> actual(wanted.begin(), wanted.end());
  for (const formats::Entity& one : wanted) ++types_[one.type].actual;
  for (const formats::Entity& one : found) {
    Counts& counts = types_[one.type];
    ++counts.predicted;
    counts.right += actual.contains(one);
  }
}

TagScores TagEvaluator::Finish() const {
  TagScores scores;
  Counts all;
  for (const auto& [type, counts] : types_) {
    scores.types[type] = ScoreOf(counts.right, counts.predicted, counts.actual);
    all.right += counts.right;
    all.predicted += counts.predicted;
    all.actual += counts.actual;
  }
  const ClassScore together = ScoreOf(all.right, all.predicted, all.actual);
  scores.precision = together.precision;
  scores.recall = together.recall;
  scores.f1 = together.f1;
  scores.accuracy = Ratio(right_words_, words_);
  scores.rows = rows_;
  scores.words = words_;
  return scores;
}

}  // namespace tenon::engine
