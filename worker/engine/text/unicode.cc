#include "worker/engine/text/unicode.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/utf16.h>

#include <algorithm>
#include <iterator>

namespace tenon::engine {
namespace {

bool IsAtMost(CodePoint c, uint8_t major) {
  UVersionInfo age;
  u_charAge(c, age);
  return age[0] != 0 && (age[0] < major || (age[0] == major && age[1] == 0));
}

// General category of Unicode 8.0. These few characters have changed theirs since.
int8_t Category(CodePoint c) {
  switch (c) {
    case 0x166D:   // Canadian syllabics chi sign
    case 0x111C9:  // Sharada sandhi mark
      return U_OTHER_PUNCTUATION;
    case 0x1734:  // Hanunoo sign pamudpod
      return U_NON_SPACING_MARK;
    case 0x1885:  // Mongolian letters Ali Gali baluda and three baluda
    case 0x1886:
      return U_OTHER_LETTER;
    case 0xA9BD:  // Javanese consonant sign keret
      return U_COMBINING_SPACING_MARK;
    default:
      break;
  }
  const int8_t category = u_charType(c);
  // Ages cost more than categories: ask only where the answer matters.
  return category != U_UNASSIGNED && !IsAtMost(c, 8) ? static_cast<int8_t>(U_UNASSIGNED) : category;
}

// Capitals that Unicode has gained since 15.0, the version of the ICU that we build with.
struct Range {
  CodePoint first, last, offset;
};
constexpr Range kNewCapitals[] = {
    {0x1C89, 0x1C89, 1},    {0xA7CB, 0xA7CB, 0x264 - 0xA7CB},
    {0xA7CC, 0xA7CC, 1},    {0xA7CE, 0xA7CE, 1},
    {0xA7D2, 0xA7D2, 1},    {0xA7D4, 0xA7D4, 1},
    {0xA7DA, 0xA7DA, 1},    {0xA7DC, 0xA7DC, 0x19B - 0xA7DC},
    {0x10D50, 0x10D65, 32}, {0x16EA0, 0x16EB8, 0x1B},
};

// Letters and numbers that Unicode 16.0 has and 15.0 has not.
struct NewClass {
  CodePoint first, last;
  bool letter;
};
constexpr NewClass kNewLettersAndNumbers[] = {
    {0x1C89, 0x1C8A, true},    {0xA7CB, 0xA7CD, true},    {0xA7DA, 0xA7DC, true},    {0x105C0, 0x105F3, true},
    {0x10D40, 0x10D49, false}, {0x10D4A, 0x10D65, true},  {0x10D6F, 0x10D85, true},  {0x10EC2, 0x10EC4, true},
    {0x11380, 0x11389, true},  {0x1138B, 0x1138B, true},  {0x1138E, 0x1138E, true},  {0x11390, 0x113B5, true},
    {0x113B7, 0x113B7, true},  {0x113D1, 0x113D1, true},  {0x113D3, 0x113D3, true},  {0x116D0, 0x116E3, false},
    {0x11BC0, 0x11BE0, true},  {0x11BF0, 0x11BF9, false}, {0x13460, 0x143FA, true},  {0x16100, 0x1611D, true},
    {0x16130, 0x16139, false}, {0x16D40, 0x16D6C, true},  {0x16D70, 0x16D79, false}, {0x18CFF, 0x18CFF, true},
    {0x1CCF0, 0x1CCF9, false}, {0x1E5D0, 0x1E5ED, true},  {0x1E5F0, 0x1E5F0, true},  {0x1E5F1, 0x1E5FA, false},
    {0x2EBF0, 0x2EE5D, true}};

bool IsOfClass(CodePoint c, uint32_t mask, bool letter) {
  if ((U_GET_GC_MASK(c) & mask) != 0) return IsAtMost(c, 16);
  const NewClass* range = std::upper_bound(std::begin(kNewLettersAndNumbers), std::end(kNewLettersAndNumbers), c,
                                           [](CodePoint point, const NewClass& other) { return point < other.first; });
  return range != std::begin(kNewLettersAndNumbers) && c <= (range - 1)->last && (range - 1)->letter == letter;
}

const UNormalizer2* Nfd() {
  static const UNormalizer2* nfd = [] {
    UErrorCode error = U_ZERO_ERROR;
    return unorm2_getNFDInstance(&error);
  }();
  return nfd;
}

}  // namespace

bool IsControl(CodePoint c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  const int8_t category = Category(c);
  return category == U_CONTROL_CHAR || category == U_FORMAT_CHAR || category == U_PRIVATE_USE_CHAR ||
         category == U_SURROGATE;
}

bool IsWhitespace(CodePoint c) { return u_hasBinaryProperty(c, UCHAR_WHITE_SPACE); }

bool IsPunctuation(CodePoint c) {
  if (c < 0x80) return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  return (U_MASK(Category(c)) & U_GC_P_MASK) != 0;
}

bool IsLetter(CodePoint c) { return IsOfClass(c, U_GC_L_MASK, true); }

bool IsNumber(CodePoint c) { return IsOfClass(c, U_GC_N_MASK, false); }

bool IsNonspacingMark(CodePoint c) { return Category(c) == U_NON_SPACING_MARK; }

bool IsChinese(CodePoint c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

CodePoint ToLower(CodePoint c) {
  for (const Range& range : kNewCapitals) {
    if (c >= range.first && c <= range.last) return c + range.offset;
  }
  return u_tolower(c);
}

uint8_t CombiningClass(CodePoint c) {
  const uint8_t combining = u_getCombiningClass(c);
  return combining != 0 && IsAtMost(c, 9) ? combining : 0;
}

int Decompose(CodePoint c, CodePoint* out) {
  UErrorCode error = U_ZERO_ERROR;
  UChar units[2 * kMaxDecomposition];
  const int32_t length = unorm2_getDecomposition(Nfd(), c, units, 2 * kMaxDecomposition, &error);
  if (length <= 0 || U_FAILURE(error) || !IsAtMost(c, 9)) {
    out[0] = c;
    return 1;
  }
  int count = 0;
  for (int32_t i = 0; i < length && count < kMaxDecomposition;) {
    UChar32 next;
    U16_NEXT(units, i, length, next);
    out[count++] = next;
  }
  return count;
}

CodePoint ReadUtf8(const char** p, const char* end) {
  const auto* s = reinterpret_cast<const unsigned char*>(*p);
  const auto left = end - *p;
  const auto tail = [&](int i) { return i < left && (s[i] & 0xC0) == 0x80; };
  CodePoint c = 0xFFFD;
  int size = 1;
  if (s[0] < 0x80) {
    c = s[0];
  } else if (s[0] >= 0xC2 && s[0] <= 0xDF && tail(1)) {
    c = (s[0] & 0x1F) << 6 | (s[1] & 0x3F);
    size = 2;
  } else if (s[0] >= 0xE0 && s[0] <= 0xEF && tail(1) && tail(2)) {
    c = (s[0] & 0x0F) << 12 | (s[1] & 0x3F) << 6 | (s[2] & 0x3F);
    size = 3;
  } else if (s[0] >= 0xF0 && s[0] <= 0xF4 && tail(1) && tail(2) && tail(3)) {
    c = (s[0] & 0x07) << 18 | (s[1] & 0x3F) << 12 | (s[2] & 0x3F) << 6 | (s[3] & 0x3F);
    size = 4;
  }
  const bool overlong = (size == 3 && c < 0x800) || (size == 4 && c < 0x10000);
  if (overlong || (c >= 0xD800 && c <= 0xDFFF) || c > 0x10FFFF) {
    c = 0xFFFD;
    size = 1;
  }
  *p += size;
  return c;
}

std::string RepairUtf8(const std::string& text) {
  std::string good;
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p != end;) {
    char bytes[4];
    good.append(bytes, static_cast<size_t>(WriteUtf8(ReadUtf8(&p, end), bytes)));
  }
  return good;
}

int WriteUtf8(CodePoint c, char* out) {
  if (c < 0x80) {
    out[0] = static_cast<char>(c);
    return 1;
  }
  if (c < 0x800) {
    out[0] = static_cast<char>(0xC0 | c >> 6);
    out[1] = static_cast<char>(0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    out[0] = static_cast<char>(0xE0 | c >> 12);
    out[1] = static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out[2] = static_cast<char>(0x80 | (c & 0x3F));
    return 3;
  }
  out[0] = static_cast<char>(0xF0 | c >> 18);
  out[1] = static_cast<char>(0x80 | (c >> 12 & 0x3F));
  out[2] = static_cast<char>(0x80 | (c >> 6 & 0x3F));
  out[3] = static_cast<char>(0x80 | (c & 0x3F));
  return 4;
}

}  // namespace tenon::engine
