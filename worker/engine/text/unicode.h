// Unicode properties as Hugging Face's tokenizers library has them, which is not one Unicode version: its character
// categories are those of Unicode 8.0, its canonical decompositions those of 9.0, the classes of its regular
// expressions those of 16.0, and its lower-case letters those of 17.0 (versions of the tables that its dependencies
// carry; measured over all code points with tokenizers 0.23). A code point that is younger than that behaves as
// unassigned.
#pragma once

#include <cstdint>
#include <string>

namespace tenon::engine {

using CodePoint = int32_t;

// Categories Cc, Cf, Co and Cs, without tab, line feed and carriage return.
bool IsControl(CodePoint c);
// The property White_Space.
bool IsWhitespace(CodePoint c);
// Categories P*, and all ASCII punctuation and symbols.
bool IsPunctuation(CodePoint c);
// \p{L} and \p{N} of regular expressions.
bool IsLetter(CodePoint c);
bool IsNumber(CodePoint c);
// Category Mn.
bool IsNonspacingMark(CodePoint c);
// The blocks that BERT puts spaces around; also a gap in them that the reference has.
bool IsChinese(CodePoint c);
// One-to-one lower case; U+0130, which gives two, is left to the caller.
CodePoint ToLower(CodePoint c);
// Canonical combining class.
uint8_t CombiningClass(CodePoint c);

inline constexpr int kMaxDecomposition = 8;
// Full canonical decomposition into `out`, which holds kMaxDecomposition; the count, 1 and c itself for most.
int Decompose(CodePoint c, CodePoint* out);

// Reads one code point of UTF-8 at *p, which is moved behind it. A malformed byte is read alone, as U+FFFD.
CodePoint ReadUtf8(const char** p, const char* end);
// `text` with U+FFFD for each malformed byte, as ReadUtf8() reads it.
std::string RepairUtf8(const std::string& text);
// Appends c as UTF-8; `out` has room for 4 bytes. Bytes written.
int WriteUtf8(CodePoint c, char* out);

}  // namespace tenon::engine
