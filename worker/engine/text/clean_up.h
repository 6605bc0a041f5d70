// Decoded text without the spaces that tokenized English has before punctuation and contractions:
// `clean_up_tokenization` of Hugging Face's tokenizers, which tokenizer_config.json's clean_up_tokenization_spaces asks
// for.
#pragma once

#include <string>
#include <string_view>

namespace tenon::engine {

// "do n't !" becomes "don't!".
std::string CleanUpSpaces(std::string text);

// Where, in a text that was or may have been cleaned up, the end begins that reads differently once more follows: "do "
// may become "do!", "it '" may become "it's" or "it 'd". All before it stays.
inline size_t SettledBeforeCleanUp(std::string_view text) {
  // More than one of them: what a rule leaves may be another's beginning, as in "do n ' t".
  for (size_t before = text.size() + 1; text.size() < before;) {
    before = text.size();
    for (const std::string_view open : {" ", "'", " n", " 'v", " 'r"}) {
      if (text.ends_with(open)) text.remove_suffix(open.size());
    }
  }
  return text.size();
}

}  // namespace tenon::engine
