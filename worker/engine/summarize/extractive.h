// Which sentences of a text make its summary: chosen from their embeddings, without training.
//
// Centroid: the sentences nearest to the mean of all (D. Radev et al., Centroid-based summarization of multiple
// documents, 2004). Maximal marginal relevance takes off for what was said already (J. Carbonell and J. Goldstein,
// 1998): with the relevance r(s) = cos(s, centroid), each step takes the sentence of the highest
//   lambda * r(s) - (1 - lambda) * max over chosen c of cos(s, c),
// so that lambda = 1 is the centroid alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tenon::engine {

struct ExtractOptions {
  int64_t max_sentences = 3;
  // A sentence that would go beyond is left out, a shorter one may still come; 0 for no limit. The first one chosen
  // comes whatever its length, so that no text is without a summary.
  int64_t max_words = 0;
  double lambda = 1;  // from 0 to 1
};

// `embeddings` [sentences, hidden], row-major, of any length each; `words` [sentences]. Indices of the chosen
// sentences, in the text's order; of equal scores the earlier sentence wins, so that the same input gives the same
// summary. OPTION_INVALID for options out of range, INTERNAL for shapes that do not fit or numbers that are not finite.
absl::StatusOr<std::vector<size_t>> ExtractSentences(const std::vector<float>& embeddings,
                                                     const std::vector<int64_t>& words, const ExtractOptions& options);

// The sentences that a trained scorer holds for the best, under the same limits; `scores` [sentences], of equal ones
// the earlier sentence wins.
absl::StatusOr<std::vector<size_t>> ScoredSentences(const std::vector<float>& scores, const std::vector<int64_t>& words,
                                                    const ExtractOptions& options);

// The baseline: sentences from the start for as long as they fit.
absl::StatusOr<std::vector<size_t>> LeadSentences(const std::vector<int64_t>& words, const ExtractOptions& options);

// Words of a sentence: runs without white space.
int64_t CountWords(const std::string& sentence);

}  // namespace tenon::engine
