#include "common/formats/answers.h"

#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

namespace tenon::formats {
namespace {

struct Character {
  UChar32 code = 0;  // negative for a byte that is none
  int32_t begin = 0, end = 0;
};

bool IsSpace(const Character& c) { return c.code >= 0 && u_isUWhiteSpace(c.code) != 0; }

// Quotation marks, brackets and what ends or parts sentences. Other punctuation is part of an answer: `C#` is not `C`.
bool IsEdge(const Character& c) {
  constexpr std::u32string_view kMarks = U"\"'.,;:!?\u2026\u3001\u3002\u00a1\u00bf\u060c\u061b\u061f\u0964";
  if (c.code < 0) return false;
  if (IsSpace(c) || kMarks.find(static_cast<char32_t>(c.code)) != std::u32string_view::npos) return true;
  const auto category = U_GET_GC_MASK(c.code);
  return (category & (U_GC_PS_MASK | U_GC_PE_MASK | U_GC_PI_MASK | U_GC_PF_MASK)) != 0;
}

// One form of each character (NFKC: `m²` is `m2`, wide letters are narrow), as T5's vocabulary has it, in lower case.
std::string Folded(const std::string& text) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* const nfkc = icu::Normalizer2::getNFKCInstance(status);
  std::string one_form, lower;
  icu::StringByteSink<std::string> forms(&one_form, static_cast<int32_t>(text.size()));
  icu::StringByteSink<std::string> letters(&lower, static_cast<int32_t>(text.size()));
  const auto piece = [](const std::string& s) { return icu::StringPiece(s.data(), static_cast<int32_t>(s.size())); };
  if (U_SUCCESS(status)) nfkc->normalizeUTF8(0, piece(text), forms, nullptr, status);
  if (U_SUCCESS(status)) icu::CaseMap::utf8ToLower("", 0, piece(one_form), letters, nullptr, status);
  return U_SUCCESS(status) ? lower : text;
}

std::vector<Character> Characters(const std::string& text) {
  std::vector<Character> characters;
  const auto size = static_cast<int32_t>(text.size());
  for (int32_t i = 0; i < size;) {
    Character& c = characters.emplace_back();
    c.begin = i;
    U8_NEXT(text.data(), i, size, c.code);
    c.end = i;
  }
  return characters;
}

}  // namespace

std::string NormalizeAnswer(const std::string& text) {
  const std::string lower = Folded(text);
  const std::vector<Character> all = Characters(lower);
  auto begin = std::find_if_not(all.begin(), all.end(), IsEdge);
  auto end = std::find_if_not(all.rbegin(), all.rend(), IsEdge).base();
  if (begin == all.end()) {
    begin = std::find_if_not(all.begin(), all.end(), IsSpace);
    end = std::find_if_not(all.rbegin(), all.rend(), IsSpace).base();
  }
  std::string normalized;
  for (auto c = begin; c < end; ++c) {
    if (!IsSpace(*c)) {
      normalized.append(lower, static_cast<size_t>(c->begin), static_cast<size_t>(c->end - c->begin));
    } else if (normalized.back() != ' ') {
      normalized += ' ';
    }
  }
  return normalized;
}

}  // namespace tenon::formats
