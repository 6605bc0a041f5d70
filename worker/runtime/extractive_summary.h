// A text's summary by its own sentences: what a model reads of them, and what its numbers choose. Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/formats/adapter_config.h"
#include "worker/engine/infer.h"
#include "worker/engine/text/sentences.h"
#include "worker/runtime/runtime.h"
#include "worker/runtime/summary.h"

namespace tenon::runtime {

class ExtractiveSummary {
 public:
  // `scorer`: the adapter's, if it has one; used unless the choice names another method, and needed when it names
  // that. Of a text with more than kMaxScoredSentences the rest is not read, and the summary says so. TEXT_EMPTY when
  // there is no sentence.
  static absl::StatusOr<ExtractiveSummary> Make(const std::string& text, const ExtractiveChoice& choice,
                                                const std::optional<formats::SentenceScorer>& scorer,
                                                const engine::SentenceSplitter& splitter);
  // What the choice needs of a model: logits by a scorer, else embeddings.
  static engine::Output OutputFor(const ExtractiveChoice& choice, const std::optional<formats::SentenceScorer>& scorer);

  // What is to be read of sentence `i`, a scorer's parts with `separator` between.
  std::string Input(size_t i, const std::string& separator) const;
  // Sentences that are to be read; none where the place in the text alone decides.
  size_t inputs() const { return method() == ExtractiveChoice::Method::kLead ? 0 : sentences_.size(); }
  // Whether the choice has a say in how alike sentences may be.
  bool weighs_relevance() const { return method() == ExtractiveChoice::Method::kMmr; }
  // `rows` of the inputs, in order. `too_long` says of a sentence whether the model reads it cut: then the summary says
  // so, and has it whole. A scorer's context may be cut without that.
  absl::StatusOr<SummaryRow> Choose(absl::Span<const InferenceRow> rows,
                                    const std::function<bool(const std::string&)>& too_long) const;

 private:
  ExtractiveSummary() = default;
  ExtractiveChoice::Method method() const {
    if (scorer_.has_value()) return ExtractiveChoice::Method::kScorer;
    return choice_.method.value_or(ExtractiveChoice::Method::kMmr);
  }
  absl::StatusOr<std::vector<size_t>> ChooseSentences(absl::Span<const InferenceRow> rows) const;

  std::vector<std::string> sentences_;
  ExtractiveChoice choice_;
  std::optional<formats::SentenceScorer> scorer_;  // where it chooses
  bool truncated_ = false;
};

}  // namespace tenon::runtime
