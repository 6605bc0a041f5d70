// Scores of texts that a model writes, against references. No torch.
//
// `loss` and `token_accuracy` are of the true target, read token by token with what stands before it given: the mean
// over all target tokens of all rows. The others are means over rows of what was written: `rouge1`, `rouge2`, `rougeL`
// and `rougeLsum` (F1, rouge.h), `exact_match` of texts normalized by answers.h. With labels, which is classification
// by writing, `accuracy`, `macro_f1` and `unparsable` come on top.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/evaluate/classification.h"

namespace tenon::engine {

struct NamedMetric {
  std::string name;
  double value = 0;
};

struct MetricInterval {
  std::string name;
  double low = 0, high = 0;
};

struct Seq2SeqScores {
  std::vector<NamedMetric> metrics;
  // 95 % bootstrap intervals of the metrics that are means over rows, in their order. The same rows give the same ones.
  std::vector<MetricInterval> intervals;
  // Of labels, in their order; empty without. A text that is none of them is in no column of `confusion` (row-major
  // [true, predicted]) and counts as wrong.
  std::vector<ClassScore> classes;
  std::vector<int64_t> confusion;
  int64_t examples = 0;
};

struct Seq2SeqScoring {
  std::vector<std::string> labels;  // what a reference may be; empty: any text
  bool use_stemmer = true;
};

// A row, as the model read its target and wrote its own text.
struct Seq2SeqRow {
  std::string reference, written;
  double loss = 0;              // sum of -log p over the target's tokens
  int64_t tokens = 0;           // of the target
  int64_t foreseen_tokens = 0;  // of them, those that the model held for the likeliest
};

class Seq2SeqEvaluator {
 public:
  // FIELD_INVALID for `labels` when two are the same text once normalized, or one is none.
  static absl::StatusOr<Seq2SeqEvaluator> Create(const Seq2SeqScoring& scoring);

  // LABEL_UNKNOWN when there are labels and the reference is none of them.
  absl::Status CheckReference(const std::string& reference) const;
  // The reference must have passed.
  void Add(const Seq2SeqRow& row);
  // Draws the intervals, which takes a while for many rows.
  Seq2SeqScores Finish() const;

 private:
  explicit Seq2SeqEvaluator(const Seq2SeqScoring& scoring);
  // The label's place, or -1.
  int64_t LabelOf(const std::string& text) const;

  bool use_stemmer_;
  std::map<std::string, int64_t> labels_;  // normalized
  ClassificationEvaluator classification_;
  double loss_ = 0;
  int64_t tokens_ = 0, foreseen_tokens_ = 0, rows_ = 0;
  // Of each row.
  std::vector<double> rouge1_, rouge2_, rouge_l_, rouge_lsum_, exact_match_, accuracy_, unparsable_;
};

}  // namespace tenon::engine
