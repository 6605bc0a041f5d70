// Files of a tiny T5 tokenizer, made by hand: spiece.model, tokenizer.json and the character map in both.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tenon::test {

// Numbers of SentencePiece's ModelProto.SentencePiece.Type.
enum PieceType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct TinyPiece {
  std::string text;
  float score = 0;
  PieceType type = kNormal;
};

// <pad> 0, </s> 1, <unk> 2, U+2581 3, then "U+2581 a" 4, "U+2581 ab" 5, a 6, b 7, c 8, bc 9, U+00E9 10, . 11, < 12.
std::vector<TinyPiece> TinyPieces();

// A precompiled character map with these replacements.
std::string CharsmapBytes(const std::vector<std::pair<std::string, std::string>>& replacements);
// Full-width a, no-break space and U+2581 to what they stand for, e with an acute accent to U+00E9, U+0001 to nothing.
std::string TinyCharsmap();

// A field of a protobuf message: a varint, or bytes.
std::string ProtoField(uint64_t number, uint64_t value);
std::string ProtoField(uint64_t number, const std::string& bytes);

std::string TinySpiece(const std::vector<TinyPiece>& pieces = TinyPieces(),
                       const std::string& charsmap = TinyCharsmap());
// The same tokenizer in Hugging Face's form, with two sentinels.
std::string TinyT5Json();

}  // namespace tenon::test
