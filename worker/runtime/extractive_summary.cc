#include "worker/runtime/extractive_summary.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "common/formats/status.h"
#include "worker/engine/summarize/extractive.h"

namespace tenon::runtime {

absl::StatusOr<ExtractiveSummary> ExtractiveSummary::Make(const std::string& text, const ExtractiveChoice& choice,
                                                          const engine::SentenceSplitter& splitter) {
  const std::vector<engine::Sentence> found = splitter.Split(text);
  if (found.empty()) return TenonError(Reason::kTextEmpty, "the text has no sentence");
  ExtractiveSummary summary;
  summary.choice_ = choice;
  summary.truncated_ = found.size() > kMaxSentences;
  const size_t read = std::min(found.size(), kMaxSentences);
  for (size_t i = 0; i < read; ++i) {
    summary.sentences_.push_back(text.substr(found[i].begin, found[i].end - found[i].begin));
  }
  return summary;
}

std::vector<std::string> ExtractiveSummary::Inputs() const {
  return choice_.method == ExtractiveChoice::Method::kLead ? std::vector<std::string>() : sentences_;
}

absl::StatusOr<SummaryRow> ExtractiveSummary::Choose(absl::Span<const InferenceRow> rows) const {
  SummaryRow row;
  row.truncated = truncated_;
  std::vector<int64_t> words;
  for (const std::string& sentence : sentences_) words.push_back(engine::CountWords(sentence));
  std::vector<float> embeddings;
  for (const InferenceRow& one : rows) {
    embeddings.insert(embeddings.end(), one.values.begin(), one.values.end());
    row.input_tokens += one.input_tokens;
    row.truncated = row.truncated || one.truncated;
  }
  engine::ExtractOptions options{.max_sentences = choice_.max_sentences};
  if (choice_.method == ExtractiveChoice::Method::kMmr) options.lambda = choice_.relevance;
  ASSIGN_OR_RETURN(const std::vector<size_t> chosen, choice_.method == ExtractiveChoice::Method::kLead
                                                         ? engine::LeadSentences(words, options)
                                                         : engine::ExtractSentences(embeddings, words, options));
  std::vector<std::string> texts;
  for (const size_t place : chosen) {
    texts.push_back(sentences_[place]);
    row.sentences.push_back(static_cast<int32_t>(place));
  }
  row.summary = absl::StrJoin(texts, " ");
  return row;
}

}  // namespace tenon::runtime
