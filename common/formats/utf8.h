// UTF-8 checks shared by validation and tokenizers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace tenon::formats {

// Bytes from `p` on, before `end`, that are one character (Unicode 15, table 3-7); then *good. Otherwise the longest
// run of bytes that begins a character and cannot end it, or one byte that begins none: what gives one U+FFFD
// (section 3.9, "maximal subparts").
size_t CharacterBytes(const char* p, const char* end, bool* good);

// Whether `text` is well-formed UTF-8 (Unicode 15, table 3-7).
bool IsValidUtf8(const std::string& text);

// Byte at which a well-formed text's character `index` (from 0) begins, its end for that behind the last; nothing where
// it has fewer. And the other way round: characters that begin before a byte.
std::optional<size_t> ByteOfCharacter(const std::string& text, int64_t index);
int64_t CharacterOfByte(const std::string& text, size_t byte);

// TEXT_EMPTY, TEXT_TOO_LARGE or TEXT_NOT_UTF8 with `field`, or OK. White space alone counts as empty.
absl::Status CheckText(const std::string& text, int64_t max_bytes, const std::string& field);

}  // namespace tenon::formats
