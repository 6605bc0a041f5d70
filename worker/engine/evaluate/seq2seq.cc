#include "worker/engine/evaluate/seq2seq.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/answers.h"
#include "common/formats/status.h"
#include "worker/engine/evaluate/bootstrap.h"
#include "worker/engine/evaluate/rouge.h"

namespace tenon::engine {
namespace {

// With an interval.
void AddMean(const std::string& name, const std::vector<double>& values, Seq2SeqScores& scores) {
  const MeanInterval interval = BootstrapMean(values, {});
  scores.metrics.push_back({name, interval.mean});
  scores.intervals.push_back({name, interval.low, interval.high});
}

// As much of a text as an error message has room for, whole characters.
std::string Shown(const std::string& text) {
  constexpr size_t kBytes = 80;
  if (text.size() <= kBytes) return text;
  size_t end = kBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), "...");
}

double Ratio(double part, int64_t whole) { return whole == 0 ? 0 : part / static_cast<double>(whole); }

}  // namespace

Seq2SeqEvaluator::Seq2SeqEvaluator(const Seq2SeqScoring& scoring)
    : use_stemmer_(scoring.use_stemmer),
      classification_(static_cast<int64_t>(scoring.labels.size()), /*multi_label=*/false) {}

absl::StatusOr<Seq2SeqEvaluator> Seq2SeqEvaluator::Create(const Seq2SeqScoring& scoring) {
  Seq2SeqEvaluator evaluator(scoring);
  for (size_t i = 0; i < scoring.labels.size(); ++i) {
    const std::string text = formats::NormalizeAnswer(scoring.labels[i]);
    if (text.empty()) return TenonError(Reason::kFieldInvalid, absl::StrCat("label ", i + 1, " is blank"), "labels");
    const auto [other, added] = evaluator.labels_.emplace(text, static_cast<int64_t>(i));
    if (!added) {
      return TenonError(Reason::kFieldInvalid,
                        absl::StrCat("the labels `", scoring.labels[static_cast<size_t>(other->second)], "` and `",
                                     scoring.labels[i], "` are one answer, `", text, "`: nothing tells them apart"),
                        "labels");
    }
  }
  return evaluator;
}

int64_t Seq2SeqEvaluator::LabelOf(const std::string& text) const {
  const auto found = labels_.find(formats::NormalizeAnswer(text));
  return found == labels_.end() ? -1 : found->second;
}

absl::Status Seq2SeqEvaluator::CheckReference(const std::string& reference) const {
  if (labels_.empty() || LabelOf(reference) >= 0) return absl::OkStatus();
  return TenonError(Reason::kLabelUnknown, absl::StrCat("the target `", Shown(reference), "` is none of the labels"),
                    "labels");
}

void Seq2SeqEvaluator::Add(const Seq2SeqRow& row) {
  ++rows_;
  loss_ += row.loss;
  tokens_ += row.tokens;
  foreseen_tokens_ += row.foreseen_tokens;
  const RougeScores rouge = ScoreRouge(row.reference, row.written, {.use_stemmer = use_stemmer_});
  rouge1_.push_back(rouge.rouge1.f1);
  rouge2_.push_back(rouge.rouge2.f1);
  rouge_l_.push_back(rouge.rouge_l.f1);
  rouge_lsum_.push_back(rouge.rouge_lsum.f1);
  exact_match_.push_back(formats::NormalizeAnswer(row.written) == formats::NormalizeAnswer(row.reference) ? 1 : 0);
  if (labels_.empty()) return;
  const int64_t truth = LabelOf(row.reference), chosen = LabelOf(row.written);
  classification_.AddChoice(truth, chosen);
  accuracy_.push_back(truth == chosen ? 1 : 0);
  unparsable_.push_back(chosen < 0 ? 1 : 0);
}

Seq2SeqScores Seq2SeqEvaluator::Finish() const {
  Seq2SeqScores scores;
  scores.examples = rows_;
  scores.metrics = {{"loss", Ratio(loss_, tokens_)},
                    {"token_accuracy", Ratio(static_cast<double>(foreseen_tokens_), tokens_)}};
  AddMean("rouge1", rouge1_, scores);
  AddMean("rouge2", rouge2_, scores);
  AddMean("rougeL", rouge_l_, scores);
  AddMean("rougeLsum", rouge_lsum_, scores);
  AddMean("exact_match", exact_match_, scores);
  if (labels_.empty()) return scores;
  ClassificationScores classes = classification_.Finish();
  AddMean("accuracy", accuracy_, scores);
  scores.metrics.push_back({"macro_f1", classes.macro_f1});
  AddMean("unparsable", unparsable_, scores);
  scores.classes = std::move(classes.classes);
  scores.confusion = std::move(classes.confusion);
  return scores;
}

}  // namespace tenon::engine
