// WordPiece: the longest piece of the vocabulary that begins a word, then the longest that goes on, and so forth.
// https://arxiv.org/abs/1609.08144, as Hugging Face's `WordPiece` model does it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

namespace tenon::engine {

struct WordPieceVocabulary {
  absl::flat_hash_map<std::string, int32_t> ids;
  std::string unk_token = "[UNK]";
  std::string continuing_prefix = "##";
  int64_t max_characters = 100;  // longer words are unknown
};

// Immutable; safe from any thread.
class WordPiece {
 public:
  // BASE_INVALID when the unknown token is not in the vocabulary.
  static absl::StatusOr<WordPiece> Create(WordPieceVocabulary vocabulary);

  // Appends the ids of one word of `characters` characters; at least one. `ends`, if any, gets for each the byte of the
  // word behind its piece: the word's own end for an unknown word.
  void Encode(const std::string& word, int64_t characters, std::vector<int32_t>* ids,
              std::vector<size_t>* ends = nullptr) const;
  // Id of a token; -1 when there is none.
  int32_t Find(const std::string& token) const;
  int64_t max_characters() const { return max_characters_; }
  // One above the highest id.
  int64_t size() const { return size_; }

 private:
  WordPiece() = default;

  absl::flat_hash_map<std::string, int32_t> first_;   // all tokens, whole
  absl::flat_hash_map<std::string, int32_t> inside_;  // tokens with the prefix, without it
  size_t longest_first_ = 0;                          // bytes
  size_t longest_inside_ = 0;
  int32_t unknown_ = 0;
  int64_t max_characters_ = 0;
  int64_t size_ = 0;
};

}  // namespace tenon::engine
