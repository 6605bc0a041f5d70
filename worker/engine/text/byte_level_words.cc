#include "worker/engine/text/byte_level_words.h"

#include <array>
#include <string_view>

#include "worker/engine/text/unicode.h"

namespace tenon::engine {
namespace {

enum class Class : char { kLetter, kNumber, kSpace, kOther };

Class SlowClassOf(CodePoint c) {
  if (IsLetter(c)) return Class::kLetter;
  if (IsNumber(c)) return Class::kNumber;
  return IsWhitespace(c) ? Class::kSpace : Class::kOther;
}

constexpr CodePoint kTable = 0x800;

Class ClassOf(CodePoint c) {
  static const std::array<Class, kTable> table = [] {
    std::array<Class, kTable> classes;
    for (CodePoint x = 0; x < kTable; ++x) classes[static_cast<size_t>(x)] = SlowClassOf(x);
    return classes;
  }();
  return c < kTable ? table[static_cast<size_t>(c)] : SlowClassOf(c);
}

Class Read(const char** p, const char* end) { return ClassOf(ReadUtf8(p, end)); }

// Where the run of characters of one class that begins at `p` ends.
const char* RunEnd(const char* p, const char* end, Class of) {
  for (const char* next = p; next != end && Read(&next, end) == of;) p = next;
  return p;
}

size_t ContractionBytes(std::string_view text) {
  for (const std::string_view contraction : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.starts_with(contraction)) return contraction.size();
  }
  return 0;
}

}  // namespace

size_t WordBytes(const char* p, const char* end) {
  const char* const begin = p;
  if (*p == '\'') {
    const size_t contraction = ContractionBytes(std::string_view(p, static_cast<size_t>(end - p)));
    if (contraction > 0) return contraction;
  }
  const char* last = p;
  Class kind = Read(&p, end);
  if (*begin == ' ' && p != end) {
    // A single space goes with what follows, unless that is white space too.
    const char* next = p;
    const Class following = Read(&next, end);
    if (following != Class::kSpace) {
      kind = following;
      p = next;
    }
  }
  if (kind != Class::kSpace) return static_cast<size_t>(RunEnd(p, end, kind) - begin);
  // The run without its last character, unless the text ends with it or there is one alone.
  while (p != end) {
    const char* next = p;
    if (Read(&next, end) != Class::kSpace) return static_cast<size_t>((last == begin ? p : last) - begin);
    last = p;
    p = next;
  }
  return static_cast<size_t>(p - begin);
}

}  // namespace tenon::engine
