#include "common/formats/answers.h"

#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tenon::formats {
namespace {

struct Character {
  UChar32 code = 0;  // negative for a byte that is none
  int32_t begin = 0, end = 0;
};

bool IsSpace(const Character& c) { return c.code >= 0 && u_isUWhiteSpace(c.code) != 0; }
bool IsEdge(const Character& c) { return IsSpace(c) || (c.code >= 0 && u_ispunct(c.code) != 0); }

std::string LowerCase(const std::string& text) {
  std::string lower;
  icu::StringByteSink<std::string> sink(&lower, static_cast<int32_t>(text.size()));
  UErrorCode status = U_ZERO_ERROR;
  icu::CaseMap::utf8ToLower("", 0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink, nullptr,
                            status);
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
  const std::string lower = LowerCase(text);
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
