#include "worker/engine/text/sentences.h"

#include <unicode/brkiter.h>
#include <unicode/filteredbrk.h>
#include <unicode/uchar.h>
#include <unicode/utext.h>
#include <unicode/utf8.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tenon::engine {
namespace {

// In ICU's list, but in running text far more often a sentence's last, or only, word.
constexpr const char* kWords[] = {"Act.", "All.", "As.",   "By.", "Do.", "Go.", "Hat.", "I.",  "In.", "Is.",
                                  "Job.", "Joe.", "Link.", "OK.", "Ok.", "On.", "Or.",  "PC.", "To.", "Up."};
// Abbreviations that are not in it and stand before what they belong to.
constexpr const char* kAbbreviations[] = {"Dr.", "Drs.", "Gen.", "Gov.", "Hon.", "Jr.", "Messrs.", "Mt.",  "Sen.",
                                          "Sr.", "St.",  "e.g.", "i.e.", "cf.",  "vs.", "approx.", "p.m.", "Fig."};

bool IsSpace(UChar32 c) { return u_isUWhiteSpace(c) != 0 || c == 0; }

// Where the line that begins at `begin` ends, and where the next one begins. Lines end as Unicode has it: at line feed,
// carriage return, next line, line and paragraph separator.
std::pair<size_t, size_t> LineEnd(const std::string& text, size_t begin) {
  const auto size = static_cast<int32_t>(text.size());
  for (int32_t i = static_cast<int32_t>(begin); i < size;) {
    const int32_t at = i;
    UChar32 c = 0;
    U8_NEXT(text.data(), i, size, c);
    if ((c >= '\n' && c <= '\r') || c == 0x85 || c == 0x2028 || c == 0x2029)
      return {static_cast<size_t>(at), static_cast<size_t>(i)};
  }
  return {text.size(), text.size()};
}

// Without white space at either end; empty when nothing is left.
Sentence Trim(const std::string& text, Sentence piece) {
  auto begin = static_cast<int32_t>(piece.begin), end = static_cast<int32_t>(piece.end);
  for (int32_t i = begin; i < end;) {
    UChar32 c = 0;
    U8_NEXT(text.data(), i, end, c);
    if (!IsSpace(c)) break;
    begin = i;
  }
  for (int32_t i = end; i > begin;) {
    UChar32 c = 0;
    U8_PREV(text.data(), begin, i, c);
    if (!IsSpace(c)) break;
    end = i;
  }
  return {static_cast<size_t>(begin), static_cast<size_t>(end)};
}

bool HasWord(const std::string& text, Sentence piece) {
  const auto end = static_cast<int32_t>(piece.end);
  for (auto i = static_cast<int32_t>(piece.begin); i < end;) {
    UChar32 c = 0;
    U8_NEXT(text.data(), i, end, c);
    if (u_isalnum(c)) return true;
  }
  return false;
}

}  // namespace

struct SentenceSplitter::Rules {
  std::unique_ptr<icu::BreakIterator> breaks;
};

SentenceSplitter::SentenceSplitter(std::unique_ptr<Rules> rules) : rules_(std::move(rules)) {}
SentenceSplitter::SentenceSplitter(SentenceSplitter&&) noexcept = default;
SentenceSplitter& SentenceSplitter::operator=(SentenceSplitter&&) noexcept = default;
SentenceSplitter::~SentenceSplitter() = default;

absl::StatusOr<SentenceSplitter> SentenceSplitter::Make() {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Locale& english = icu::Locale::getEnglish();
  std::unique_ptr<icu::BreakIterator> plain(icu::BreakIterator::createSentenceInstance(english, status));
  std::unique_ptr<icu::FilteredBreakIteratorBuilder> filter(
      icu::FilteredBreakIteratorBuilder::createInstance(english, status));
  if (U_SUCCESS(status)) {
    for (const char* word : kWords) filter->unsuppressBreakAfter(icu::UnicodeString::fromUTF8(word), status);
    for (const char* word : kAbbreviations) filter->suppressBreakAfter(icu::UnicodeString::fromUTF8(word), status);
    // An initial belongs to the name behind it; `I` is a word.
    for (char letter = 'A'; letter <= 'Z'; ++letter) {
      if (letter == 'I') continue;
      filter->suppressBreakAfter(icu::UnicodeString::fromUTF8(std::string{letter, '.'}), status);
    }
  }
  auto rules = std::make_unique<Rules>();
  if (U_SUCCESS(status)) rules->breaks.reset(filter->wrapIteratorWithFilter(plain.release(), status));
  if (U_FAILURE(status) || rules->breaks == nullptr)
    return absl::InternalError(absl::StrCat("The Unicode library has no rules for sentences: ", u_errorName(status)));
  return SentenceSplitter(std::move(rules));
}

std::vector<Sentence> SentenceSplitter::Split(const std::string& text) const {
  std::vector<Sentence> sentences;
  // An iterator holds its text: each call has its own.
  const std::unique_ptr<icu::BreakIterator> breaks(rules_->breaks->clone());
  for (size_t begin = 0; begin < text.size();) {
    const auto [end, next] = LineEnd(text, begin);
    UErrorCode status = U_ZERO_ERROR;
    UText line = UTEXT_INITIALIZER;
    utext_openUTF8(&line, text.data() + begin, static_cast<int64_t>(end - begin), &status);
    breaks->setText(&line, status);
    bool first = true;
    for (int32_t from = breaks->first(), to = breaks->next(); U_SUCCESS(status) && to != icu::BreakIterator::DONE;
         from = to, to = breaks->next()) {
      const Sentence piece = Trim(text, {begin + static_cast<size_t>(from), begin + static_cast<size_t>(to)});
      if (piece.begin == piece.end) continue;
      if (!first && !HasWord(text, piece)) {
        sentences.back().end = piece.end;
      } else {
        sentences.push_back(piece);
      }
      first = false;
    }
    utext_close(&line);
    begin = next;
  }
  return sentences;
}

}  // namespace tenon::engine
