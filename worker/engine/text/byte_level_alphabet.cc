#include "worker/engine/text/byte_level_alphabet.h"

#include "common/formats/utf8.h"
#include "worker/engine/text/unicode.h"

namespace tenon::engine {
namespace {

constexpr int kFirstStandIn = 0x100;

bool IsPrintable(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int16_t, 2 * kFirstStandIn> bytes;  // by code point; -1 for none

  Alphabet() {
    bytes.fill(-1);
    int stand_in = kFirstStandIn;
    for (int byte = 0; byte < 256; ++byte) {
      const CodePoint c = IsPrintable(byte) ? byte : stand_in++;
      char utf8[4];
      characters[static_cast<size_t>(byte)].assign(utf8, static_cast<size_t>(WriteUtf8(c, utf8)));
      bytes[static_cast<size_t>(c)] = static_cast<int16_t>(byte);
    }
  }
};

const Alphabet& TheAlphabet() {
  static const Alphabet alphabet;
  return alphabet;
}

}  // namespace

const std::array<std::string, 256>& ByteCharacters() { return TheAlphabet().characters; }

std::string ToByteCharacters(std::string_view bytes) {
  std::string piece;
  for (const char byte : bytes) piece += ByteCharacters()[static_cast<unsigned char>(byte)];
  return piece;
}

std::optional<std::string> FromByteCharacters(std::string_view piece) {
  const auto& bytes = TheAlphabet().bytes;
  std::string out;
  const char* const end = piece.data() + piece.size();
  for (const char* p = piece.data(); p != end;) {
    const auto c = static_cast<size_t>(ReadUtf8(&p, end));
    if (c >= bytes.size() || bytes[c] < 0) return std::nullopt;
    out.push_back(static_cast<char>(bytes[c]));
  }
  return out;
}

std::string TextOfBytes(std::string_view bytes) {
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  std::string text;
  const char* const end = bytes.data() + bytes.size();
  for (const char* p = bytes.data(); p != end;) {
    bool good = false;
    const size_t size = formats::CharacterBytes(p, end, &good);
    text += good ? std::string_view(p, size) : kReplacement;
    p += size;
  }
  return text;
}

}  // namespace tenon::engine
