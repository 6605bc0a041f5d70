// Byte pair encoding: a word begins as single bytes; then, of all neighbours that a merge joins, those of the merge
// that comes first in the list are joined, from left to right, until none is left. https://arxiv.org/abs/1508.07909,
// over bytes as in GPT-2, as Hugging Face's `BPE` model does it behind its `ByteLevel` pre-tokenizer.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

namespace tenon::engine {

// Pieces are written in the characters of byte_level_alphabet.h.
struct BytePairVocabulary {
  absl::flat_hash_map<std::string, int32_t> ids;            // no two the same
  std::vector<std::pair<std::string, std::string>> merges;  // the first counts most
  bool ignore_merges = false;                               // a word that is a piece is that piece
  std::string unk_token;                                    // for bytes that are no piece; empty: they are left out
  bool fuse_unk = false;                                    // a run of them is one unknown
};

// Immutable; safe from any thread.
class BytePairs {
 public:
  // What a word is merged on; keep one for many words.
  struct Workspace {
    // A piece of the word. Its neighbours are places in `symbols`, -1 at the ends.
    struct Symbol {
      int32_t id = 0;
      int32_t before = -1;
      int32_t after = -1;
      bool gone = false;
    };
    // A merge of the symbol at `at` with the one after it.
    struct Candidate {
      int32_t rank = 0;
      int32_t at = 0;
      int32_t id = 0;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  // BASE_INVALID when a merge's pieces, what they join to or the unknown token are no piece.
  static absl::StatusOr<BytePairs> Create(BytePairVocabulary vocabulary);

  // Appends the ids of a word of less than 2 GiB. The work grows with its bytes times their logarithm.
  void Encode(std::string_view word, Workspace* workspace, std::vector<int32_t>* ids) const;
  // Id of a piece; -1 when there is none.
  int32_t Find(const std::string& piece) const;
  const absl::flat_hash_map<std::string, int32_t>& ids() const { return ids_; }

 private:
  struct Merge {
    int32_t rank = 0;
    int32_t id = 0;
  };

  BytePairs() = default;
  void FillSymbols(std::string_view word, Workspace* workspace) const;
  // Offers the symbol at `at` and the one after it to be merged.
  void Offer(int32_t at, Workspace* workspace) const;
  const Merge* FindMerge(int32_t left, int32_t right) const;

  absl::flat_hash_map<std::string, int32_t> ids_;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // by both ids
  std::array<int32_t, 256> bytes_;               // ids of single bytes; -1 for none
  int32_t unknown_ = -1;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace tenon::engine
