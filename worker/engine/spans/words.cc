#include "worker/engine/spans/words.h"

#include <unicode/brkiter.h>
#include <unicode/uchar.h>
#include <unicode/utext.h>
#include <unicode/utf8.h>

#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tenon::engine {
namespace {

bool IsBlank(const std::string& text, int32_t begin, int32_t end) {
  for (int32_t i = begin; i < end;) {
    UChar32 c = 0;
    U8_NEXT(text.data(), i, end, c);
    if (c > 0 && u_isUWhiteSpace(c) == 0 && u_iscntrl(c) == 0) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::vector<TextPlace>> WordsOf(const std::string& text) {
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<icu::BreakIterator> breaks(
      icu::BreakIterator::createWordInstance(icu::Locale::getRoot(), status));
  UText units = UTEXT_INITIALIZER;
  utext_openUTF8(&units, text.data(), static_cast<int64_t>(text.size()), &status);
  if (U_SUCCESS(status)) breaks->setText(&units, status);
  if (U_FAILURE(status)) {
    utext_close(&units);
    return absl::InternalError(absl::StrCat("The Unicode library has no rules for words: ", u_errorName(status)));
  }
  std::vector<TextPlace> words;
  for (int32_t from = breaks->first(), to = breaks->next(); to != icu::BreakIterator::DONE;
       from = to, to = breaks->next()) {
    if (!IsBlank(text, from, to)) words.push_back({static_cast<size_t>(from), static_cast<size_t>(to)});
  }
  utext_close(&units);
  return words;
}

}  // namespace tenon::engine
