#include "common/formats/utf8.h"

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::formats {

bool IsValidUtf8(const std::string& text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = p + text.size();
  const auto continues = [&](int i) { return p + i < end && (p[i] & 0xC0) == 0x80; };
  while (p < end) {
    if (*p < 0x80) {
      p += 1;
    } else if (*p >= 0xC2 && *p <= 0xDF) {
      if (!continues(1)) return false;
      p += 2;
    } else if (*p >= 0xE0 && *p <= 0xEF) {
      if (!continues(1) || !continues(2)) return false;
      if (*p == 0xE0 && p[1] < 0xA0) return false;  // overlong
      if (*p == 0xED && p[1] > 0x9F) return false;  // surrogates
      p += 3;
    } else if (*p >= 0xF0 && *p <= 0xF4) {
      if (!continues(1) || !continues(2) || !continues(3)) return false;
      if (*p == 0xF0 && p[1] < 0x90) return false;  // overlong
      if (*p == 0xF4 && p[1] > 0x8F) return false;  // beyond U+10FFFF
      p += 4;
    } else {
      return false;
    }
  }
  return true;
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
