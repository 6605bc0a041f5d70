// The best that a choice of sentences can be worth: what a scorer of sentences is trained to choose.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenon::engine {

// Labels to train a sentence scorer on (R. Nallapati et al., SummaRuNNer, 2017): greedily the sentence that raises
// ROUGE-1 plus ROUGE-2 (F1, over the words of words.h) against `reference` most, until none does or `max_sentences` are
// chosen. Indices in the text's order; none when no sentence shares a word with the reference.
std::vector<size_t> OracleSentences(const std::vector<std::string>& sentences, const std::string& reference,
                                    int64_t max_sentences);

}  // namespace tenon::engine
