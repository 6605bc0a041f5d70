#include "worker/engine/summarize/words.h"

#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utf8.h>

#include <cstdint>

namespace tenon::engine {
namespace {

bool IsOfWords(UChar32 c) {
  constexpr uint32_t kWordMask = U_GC_L_MASK | U_GC_N_MASK | U_GC_M_MASK;
  return (U_GET_GC_MASK(c) & kWordMask) != 0;
}

bool StandsAlone(UChar32 c) {
  UErrorCode status = U_ZERO_ERROR;
  const UScriptCode script = uscript_getScript(c, &status);
  return script == USCRIPT_HAN || script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA;
}

void Append(UChar32 c, std::string* word) {
  char bytes[U8_MAX_LENGTH];
  int32_t length = 0;
  U8_APPEND_UNSAFE(bytes, length, u_tolower(c));
  word->append(bytes, static_cast<size_t>(length));
}

}  // namespace

std::vector<std::string> SummaryWords(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  const auto size = static_cast<int32_t>(text.size());
  for (int32_t i = 0; i < size;) {
    UChar32 c = 0;
    U8_NEXT(text.data(), i, size, c);
    const bool alone = c >= 0 && StandsAlone(c);
    if (alone || c < 0 || !IsOfWords(c)) end_word();
    if (c < 0 || !IsOfWords(c)) continue;
    Append(c, &word);
    if (alone) end_word();
  }
  end_word();
  return words;
}

}  // namespace tenon::engine
