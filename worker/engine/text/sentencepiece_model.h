// spiece.model, read with the SentencePiece library. Its header clashes with Abseil's: this header and its source
// include none of Abseil.
#pragma once

#include <string>
#include <vector>

namespace tenon::engine {

struct SentencePieceModel {
  enum class Type { kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::kNormal;
  };
  std::vector<Piece> pieces;
  std::string charsmap;  // normalizer_spec.precompiled_charsmap
  bool unigram = true;   // trainer_spec.model_type
};

// What is wrong with the model, or "" when `model` was filled. `bytes` may be anything.
std::string ReadSentencePieceModel(const std::string& bytes, SentencePieceModel* model);

}  // namespace tenon::engine
