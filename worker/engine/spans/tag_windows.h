// Rows of a text's words for a head on every token. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/text/tokenizer.h"

namespace tenon::engine {

// A row of words [first_word, first_word + word_tokens.size()) of a text.
struct TagWindow {
  Encoding encoding;
  size_t first_word = 0;
  // The place in the row of each word's first token; -1 for a word of which the tokenizer leaves nothing.
  std::vector<int64_t> word_tokens;
};

// One row where it holds at most `max_tokens` tokens, else rows that share about a quarter of their words with the
// next. Of a word that fills a row by itself the first tokens alone are read. Words are encoded one by one
// (PlaceTokenizer::EncodeWord). No rows for no words.
std::vector<TagWindow> CutWords(const PlaceTokenizer& tokenizer, const std::vector<std::string>& words,
                                int64_t max_tokens);

// Logits of each of `words` words, at its first token, from `rows`: of each window [tokens, labels]. Of several windows
// that one counts where the word is farthest from both ends, the text's own ends not counted. Zeros for a word without
// tokens.
std::vector<std::vector<float>> WordLogits(const std::vector<TagWindow>& windows, size_t words,
                                           absl::Span<const std::vector<float>* const> rows, size_t labels);

}  // namespace tenon::engine
