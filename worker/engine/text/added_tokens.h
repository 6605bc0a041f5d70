// Tokens that are found in the text before it is split into words, such as [MASK]: `added_tokens` of tokenizer.json.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "worker/engine/text/piece_trie.h"

namespace tenon::engine {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;
  bool normalized = false;  // looked for in the normalized text
  bool special = false;     // left out of decoded text
};

// A piece of a text: an added token's id, or -1 and the place of what is not one.
struct TextPiece {
  int32_t id = -1;
  size_t begin = 0;
  size_t end = 0;
};

// Finds the leftmost, then longest token; matches do not overlap. Immutable; safe from any thread.
class AddedTokens {
 public:
  AddedTokens() = default;
  explicit AddedTokens(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }
  // Cuts `text` at the tokens, in order; empty pieces are left out.
  std::vector<TextPiece> Cut(const std::string& text) const;

 private:
  // The longest token at `at`, or nullptr.
  const AddedToken* Match(const std::string& text, size_t at) const;

  std::vector<AddedToken> tokens_;
  PieceTrie trie_;                          // to their places; of equal ones, to the first
  std::array<bool, 256> first_bytes_ = {};  // bytes that a token begins with
};

}  // namespace tenon::engine
