// The Unigram model: of all ways to put a text together from pieces, the one with the highest sum of scores.
// https://arxiv.org/abs/1804.10959, as Hugging Face's `Unigram` model does it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/text/piece_trie.h"

namespace tenon::engine {

struct UnigramPiece {
  std::string text;
  double score = 0;  // logarithm of its probability
};

// Immutable; safe from any thread.
class Unigram {
 public:
  // What a search writes on; keep one for many texts.
  struct Step {
    double score = 0;
    uint32_t begin = 0;
    int32_t id = -1;
  };
  using Workspace = std::vector<Step>;

  // The id of a piece is its place. Of pieces with the same text the last one counts. BASE_INVALID when `unknown` is no
  // piece's id, a piece is empty or not valid UTF-8, or a score is not finite.
  static absl::StatusOr<Unigram> Create(const std::vector<UnigramPiece>& pieces, int32_t unknown);

  // Appends the ids of `text`, which is valid UTF-8 of less than 4 GiB; at least one unless it is empty. A run of
  // characters that no piece covers gives one unknown id. The work is at most the bytes of the text times those of the
  // longest piece.
  void Encode(std::string_view text, Workspace* workspace, std::vector<int32_t>* ids) const;
  // Id of a piece; -1 when there is none.
  int32_t Find(std::string_view piece) const { return trie_.Find(piece); }

 private:
  Unigram() = default;

  PieceTrie trie_;
  std::vector<double> scores_;  // by id
  int32_t unknown_ = 0;
  double unknown_score_ = 0;
};

}  // namespace tenon::engine
