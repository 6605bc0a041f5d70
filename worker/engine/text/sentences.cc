#include "worker/engine/text/sentences.h"

#include <unicode/brkiter.h>
#include <unicode/uchar.h>
#include <unicode/utext.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tenon::engine {
namespace {

// ICU's own filter of English abbreviations (`en@ss=standard`) is not used: it breaks behind those with a full stop
// inside (`U.S. Senate`), and holds `OK.`, `Job.` and `In.` for abbreviations.

// Stand before what they belong to, always.
constexpr std::array kBeforeNames = {"Adm",  "Capt", "Cmdr", "Col", "Dr",     "Drs", "Fig", "Fr",     "Gen",
                                     "Gov",  "Hon",  "Lt",   "Maj", "Messrs", "Mr",  "Mrs", "Ms",     "Mt",
                                     "Pres", "Prof", "Rep",  "Rev", "Sen",    "Sgt", "St",  "approx", "cf",
                                     "e.g",  "fig",  "i.e",  "pp",  "viz",    "vol", "Vol", "vs"};
// May end a sentence as well: the next word tells.
constexpr std::array kMaybeLast = {"Apr", "Aug", "Ave", "Blvd", "Bros", "Co",   "Corp", "Dec", "Dept",
                                   "Feb", "Inc", "Jan", "Jr",   "Jul",  "Jun",  "Ltd",  "Mar", "Nov",
                                   "Oct", "Rd",  "Sep", "Sept", "Sr",   "Univ", "dept", "etc"};
// Begin sentences, and hardly ever stand in a name.
constexpr std::array kStarters = {
    "A",     "After", "All",   "Also", "An",      "And",   "Are",   "As",    "At",    "Because", "Before",
    "But",   "Can",   "Could", "Did",  "Do",      "Does",  "For",   "From",  "Had",   "Has",     "Have",
    "He",    "Her",   "His",   "How",  "However", "I",     "If",    "In",    "Is",    "It",      "Its",
    "Let",   "My",    "No",    "Not",  "Now",     "On",    "One",   "Or",    "Our",   "She",     "Since",
    "So",    "Some",  "Thank", "That", "The",     "Their", "Then",  "There", "These", "They",    "This",
    "Those", "To",    "We",    "Well", "What",    "When",  "Where", "Which", "While", "Who",     "Why",
    "Will",  "With",  "Would", "Yes",  "Yet",     "You",   "Your"};

template <size_t n>
bool Has(const std::array<const char*, n>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The letters from `at` on, up to an apostrophe: `I` of `I'm`.
std::string WordAt(const std::string& text, size_t at) {
  while (at < text.size() && (text[at] == '"' || text[at] == '(' || text[at] == '\'')) ++at;
  size_t end = at;
  while (end < text.size() && IsLetter(text[end])) ++end;
  return text.substr(at, end - at);
}

// Whether a full stop before `end` belongs to an abbreviation, so that what begins at `next` goes on with the sentence.
bool GoesOn(const std::string& text, size_t begin, size_t end, size_t next) {
  if (end - begin < 2 || text[end - 1] != '.') return false;
  size_t start = end - 1;
  while (start > begin && (IsLetter(text[start - 1]) || text[start - 1] == '.')) --start;
  const std::string word = text.substr(start, end - 1 - start);
  if (word.empty() || word.front() == '.' || word.find("..") != std::string::npos) return false;
  if (Has(kBeforeNames, word)) return true;
  if (word == "No") return text[next] >= '0' && text[next] <= '9';
  const bool initial = word.size() == 1 && word[0] >= 'A' && word[0] <= 'Z' && word[0] != 'I';
  const bool dotted = word.find('.') != std::string::npos;  // U.S, p.m, Ph.D
  return (initial || dotted || Has(kMaybeLast, word)) && !Has(kStarters, WordAt(text, next));
}

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
  auto rules = std::make_unique<Rules>();
  rules->breaks.reset(icu::BreakIterator::createSentenceInstance(icu::Locale::getEnglish(), status));
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
      if (!first &&
          (!HasWord(text, piece) || GoesOn(text, sentences.back().begin, sentences.back().end, piece.begin))) {
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
