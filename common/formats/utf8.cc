#include "common/formats/utf8.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

bool BeginsCharacter(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }
bool IsIn(unsigned char byte, unsigned char low, unsigned char high) { return byte >= low && byte <= high; }

}  // namespace

size_t CharacterBytes(const char* p, const char* end, bool* good) {
  const auto at = [&](int i) { return static_cast<unsigned char>(p[i]); };
  const unsigned char lead = at(0);
  const int size = lead < 0x80              ? 1
                   : IsIn(lead, 0xC2, 0xDF) ? 2
                   : IsIn(lead, 0xE0, 0xEF) ? 3
                   : IsIn(lead, 0xF0, 0xF4) ? 4
                                            : 0;
  *good = size > 0;
  for (int i = 1; i < size; ++i) {
    unsigned char low = 0x80, high = 0xBF;
    if (i == 1) {
      if (lead == 0xE0) low = 0xA0;   // no overlong forms
      if (lead == 0xED) high = 0x9F;  // no surrogates
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;  // nothing above U+10FFFF
    }
    if (i < end - p && IsIn(at(i), low, high)) continue;
    *good = false;
    return static_cast<size_t>(i);
  }
  return static_cast<size_t>(size == 0 ? 1 : size);
}

bool IsValidUtf8(const std::string& text) {
  const char* const end = text.data() + text.size();
  bool good = true;
  for (const char* p = text.data(); good && p != end;) p += CharacterBytes(p, end, &good);
  return good;
}

std::optional<size_t> ByteOfCharacter(const std::string& text, int64_t index) {
  if (index < 0) return std::nullopt;
  for (size_t byte = 0; byte < text.size(); ++byte) {
    if (BeginsCharacter(text[byte]) && index-- == 0) return byte;
  }
  return index == 0 ? std::optional<size_t>(text.size()) : std::nullopt;
}

int64_t CharacterOfByte(const std::string& text, size_t byte) {
  return std::count_if(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(std::min(byte, text.size())),
                       BeginsCharacter);
}

absl::Status CheckText(const std::string& text, int64_t max_bytes, const std::string& field) {
  if (static_cast<int64_t>(text.size()) > max_bytes) {
    return TenonError(
        Reason::kTextTooLarge,
        absl::StrCat(field, ": the text has ", text.size(), " bytes; at most ", max_bytes, " are allowed"), field);
  }
  if (text.find_first_not_of(" \t\r\n\f\v") == std::string::npos) {
    return TenonError(Reason::kTextEmpty, absl::StrCat(field, ": the text is empty"), field);
  }
  if (!IsValidUtf8(text)) {
    return TenonError(Reason::kTextNotUtf8, absl::StrCat(field, ": the text is not valid UTF-8"), field);
  }
  return absl::OkStatus();
}

}  // namespace tenon::formats
