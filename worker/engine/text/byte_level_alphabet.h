// GPT-2's alphabet: a printable character for each byte, so that pieces of any bytes can stand in text files. Bytes
// that are printable in Latin-1 stand for themselves, the others for U+0100 and on: a space is U+0120.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tenon::engine {

// The character of each byte, in UTF-8.
const std::array<std::string, 256>& ByteCharacters();
// The bytes in the alphabet's characters.
std::string ToByteCharacters(std::string_view bytes);
// The bytes that a piece's characters stand for; none when one of them is not of the alphabet.
std::optional<std::string> FromByteCharacters(std::string_view piece);

// The text of any bytes. Each longest run of bytes that begins a character and cannot end it gives one U+FFFD (Unicode,
// section 3.9, "maximal subparts"), as do bytes that begin none.
std::string TextOfBytes(std::string_view bytes);

}  // namespace tenon::engine
