#include "worker/runtime/extractive_summary.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "common/formats/status.h"
#include "worker/engine/summarize/extractive.h"
#include "worker/engine/summarize/scorer.h"

namespace tenon::runtime {
namespace {

using Method = ExtractiveChoice::Method;

bool ScorerChooses(const ExtractiveChoice& choice, const std::optional<formats::SentenceScorer>& scorer) {
  return scorer.has_value() && choice.method.value_or(Method::kScorer) == Method::kScorer;
}

}  // namespace

absl::StatusOr<ExtractiveSummary> ExtractiveSummary::Make(const std::string& text, const ExtractiveChoice& choice,
                                                          const std::optional<formats::SentenceScorer>& scorer,
                                                          const engine::SentenceSplitter& splitter) {
  const std::vector<engine::Sentence> found = splitter.Split(text);
  if (found.empty()) return TenonError(Reason::kTextEmpty, "the text has no sentence");
  ExtractiveSummary summary;
  summary.choice_ = choice;
  if (ScorerChooses(choice, scorer)) summary.scorer_ = scorer;
  summary.truncated_ = found.size() > engine::kMaxScoredSentences;
  const size_t read = std::min(found.size(), engine::kMaxScoredSentences);
  for (size_t i = 0; i < read; ++i) {
    summary.sentences_.push_back(text.substr(found[i].begin, found[i].end - found[i].begin));
  }
  return summary;
}

engine::Output ExtractiveSummary::OutputFor(const ExtractiveChoice& choice,
                                            const std::optional<formats::SentenceScorer>& scorer) {
  return ScorerChooses(choice, scorer) ? engine::Output::kLogits : engine::Output::kEmbedding;
}

std::string ExtractiveSummary::Input(size_t i, const std::string& separator) const {
  return scorer_.has_value() ? engine::ScorerRow(sentences_, i, *scorer_, separator) : sentences_[i];
}

absl::StatusOr<std::vector<size_t>> ExtractiveSummary::ChooseSentences(absl::Span<const InferenceRow> rows) const {
  engine::ExtractOptions options{.max_sentences = choice_.max_sentences};
  std::vector<int64_t> words;
  for (const std::string& sentence : sentences_) words.push_back(engine::CountWords(sentence));
  if (scorer_.has_value()) {
    std::vector<float> scores;
    for (const InferenceRow& row : rows) {
      scores.push_back(row.values.at(engine::kExtractLabel) - row.values.at(1 - engine::kExtractLabel));
    }
    return engine::ScoredSentences(scores, words, options);
  }
  if (method() == Method::kLead) return engine::LeadSentences(words, options);
  std::vector<float> embeddings;
  for (const InferenceRow& row : rows) embeddings.insert(embeddings.end(), row.values.begin(), row.values.end());
  if (method() == Method::kMmr) options.lambda = choice_.relevance.value_or(0.7);
  return engine::ExtractSentences(embeddings, words, options);
}

absl::StatusOr<SummaryRow> ExtractiveSummary::Choose(absl::Span<const InferenceRow> rows,
                                                     const std::function<bool(const std::string&)>& too_long) const {
  ASSIGN_OR_RETURN(const std::vector<size_t> chosen, ChooseSentences(rows));
  SummaryRow row;
  row.truncated = truncated_;
  for (size_t i = 0; i < rows.size(); ++i) {
    row.input_tokens += rows[i].input_tokens;
    row.truncated = row.truncated || (rows[i].truncated && too_long(sentences_[i]));
  }
  std::vector<std::string> texts;
  for (const size_t place : chosen) {
    texts.push_back(sentences_[place]);
    row.sentences.push_back(static_cast<int32_t>(place));
  }
  row.summary = absl::StrJoin(texts, " ");
  return row;
}

}  // namespace tenon::runtime
