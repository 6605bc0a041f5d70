// A trained scorer of sentences: a classifier that reads each sentence of a text in its context and says how likely it
// belongs to the summary (Y. Liu, Fine-tune BERT for extractive summarization, 2019, has the labels and the loss).
// docs/adr/0013-trained-extractive-summaries.md says why a row is what it is.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/formats/adapter_config.h"
#include "worker/engine/text/sentences.h"
#include "worker/engine/train/trainer.h"

namespace tenon::engine {

// The scorer's two labels; a sentence's score is the probability of the second.
const std::vector<std::string>& ScorerLabels();
inline constexpr int64_t kExtractLabel = 1;

// Sentences of a text that are read; those behind them are not, neither in training nor in serving.
inline constexpr size_t kMaxScoredSentences = 4096;

// What the classifier reads of a text's sentence `s`: the sentence, its place, the sentences before and behind it, with
// the tokenizer's `separator` between. The sentence comes first, so that a limit of tokens cuts the context before it.
std::string ScorerRow(const std::vector<std::string>& sentences, size_t s, const formats::SentenceScorer& scorer,
                      const std::string& separator);

// What a scorer is trained on: texts, and their summaries as targets.
struct ScorerData {
  std::vector<TextPair> train;
  std::vector<TextPair> validation;  // may be empty
  formats::SentenceScorer scorer;
  size_t max_row_bytes = size_t{1} << 30;  // of all rows together, each with its neighbours
};

struct ScorerTraining {
  TrainData data;
  std::string notice;  // for whoever started the run, on texts that were left out; empty when none was
};

// Rows to train the classifier on, labelled by the greedy oracle (oracle.h). Texts without a sentence that has a word
// of the reference are left out. DATASET_INVALID names the set of which nothing is left; TOO_LARGE names `neighbours`
// when the rows are more than max_row_bytes; CANCELLED once `cancelled` says so.
absl::StatusOr<ScorerTraining> MakeScorerTraining(const ScorerData& data, const SentenceSplitter& splitter,
                                                  const std::string& separator, const std::function<bool()>& cancelled);

}  // namespace tenon::engine
