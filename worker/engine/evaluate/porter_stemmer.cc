#include "worker/engine/evaluate/porter_stemmer.h"

#include <cstring>
#include <initializer_list>

namespace tenon::engine {
namespace {

// `before` says what the letter before is; y is a vowel behind a consonant.
bool IsConsonant(char c, bool first, bool before) {
  if (c == 'y') return first || !before;
  return std::strchr("aeiou", c) == nullptr;
}

bool IsConsonant(const std::string& word, size_t i) {
  // Runs of y alternate, from the letter before them on.
  size_t k = i;
  while (k > 0 && word[k] == 'y') --k;
  bool consonant = IsConsonant(word[k], /*first=*/true, false);
  while (k < i) consonant = IsConsonant(word[++k], /*first=*/false, consonant);
  return consonant;
}

// Porter's m: how often a vowel is followed by a consonant.
int Measure(const std::string& stem) {
  int m = 0;
  bool before = true;
  for (size_t i = 0; i < stem.size(); ++i) {
    const bool consonant = IsConsonant(stem[i], i == 0, before);
    if (consonant && !before) ++m;
    before = consonant;
  }
  return m;
}

bool HasVowel(const std::string& stem) {
  bool before = true;
  for (size_t i = 0; i < stem.size(); ++i) {
    before = IsConsonant(stem[i], i == 0, before);
    if (!before) return true;
  }
  return false;
}

bool EndsDouble(const std::string& word) {
  const size_t n = word.size();
  return n >= 2 && word[n - 1] == word[n - 2] && IsConsonant(word, n - 1);
}

// Porter's *o: consonant, vowel, consonant other than w, x, y; and a vowel and a consonant alone.
bool EndsShort(const std::string& word) {
  const size_t n = word.size();
  if (n == 2) return !IsConsonant(word, 0) && IsConsonant(word, 1);
  return n >= 3 && IsConsonant(word, n - 3) && !IsConsonant(word, n - 2) && IsConsonant(word, n - 1) &&
         std::strchr("wxy", word[n - 1]) == nullptr;
}

bool Ends(const std::string& word, const char* suffix) {
  const size_t length = std::strlen(suffix);
  return word.size() >= length && word.compare(word.size() - length, length, suffix) == 0;
}

std::string Without(const std::string& word, size_t letters) { return word.substr(0, word.size() - letters); }

struct Rule {
  const char* suffix;
  const char* replacement;
};

// The first rule whose suffix fits decides: it is applied when the stem's measure is above `m`, else nothing is.
void Apply(std::initializer_list<Rule> rules, int m, std::string* word) {
  for (const Rule& rule : rules) {
    if (!Ends(*word, rule.suffix)) continue;
    const std::string stem = Without(*word, std::strlen(rule.suffix));
    if (Measure(stem) > m) *word = stem + rule.replacement;
    return;
  }
}

// What the rules would get wrong; empty for all other words.
std::string Irregular(const std::string& word) {
  static constexpr Rule kForms[] = {
      {"sky", "sky"},          {"skies", "sky"},       {"dying", "die"},       {"lying", "lie"},
      {"tying", "tie"},        {"news", "news"},       {"inning", "inning"},   {"innings", "inning"},
      {"outing", "outing"},    {"outings", "outing"},  {"canning", "canning"}, {"howe", "howe"},
      {"cannings", "canning"}, {"proceed", "proceed"}, {"exceed", "exceed"},   {"succeed", "succeed"}};
  for (const Rule& form : kForms) {
    if (word == form.suffix) return form.replacement;
  }
  return "";
}

void Plural(std::string* word) {
  if (Ends(*word, "sses")) {
    word->resize(word->size() - 2);
  } else if (Ends(*word, "ies")) {
    word->resize(word->size() - (word->size() == 4 ? 1 : 2));  // dies: die; flies: fli
  } else if (Ends(*word, "s") && !Ends(*word, "ss")) {
    word->pop_back();
  }
}

void Past(std::string* word) {
  if (Ends(*word, "ied")) {
    word->resize(word->size() - (word->size() == 4 ? 1 : 2));
    return;
  }
  if (Ends(*word, "eed")) {
    if (Measure(Without(*word, 3)) > 0) word->pop_back();
    return;
  }
  std::string stem;
  if (Ends(*word, "ed") && HasVowel(Without(*word, 2))) {
    stem = Without(*word, 2);
  } else if (Ends(*word, "ing") && HasVowel(Without(*word, 3))) {
    stem = Without(*word, 3);
  } else {
    return;
  }
  if (Ends(stem, "at") || Ends(stem, "bl") || Ends(stem, "iz")) {
    stem += 'e';
  } else if (EndsDouble(stem)) {
    if (std::strchr("lsz", stem.back()) == nullptr) stem.pop_back();
  } else if (Measure(stem) == 1 && EndsShort(stem)) {
    stem += 'e';
  }
  *word = stem;
}

void FinalY(std::string* word) {
  const size_t n = word->size();
  if (n > 2 && word->back() == 'y' && IsConsonant(*word, n - 2)) word->back() = 'i';
}

void DoubleSuffix(std::string* word) {
  while (Ends(*word, "alli") && Measure(Without(*word, 4)) > 0) word->resize(word->size() - 2);
  if (Ends(*word, "logi")) {
    // The l belongs to the stem.
    if (Measure(Without(*word, 3)) > 0) word->pop_back();
    return;
  }
  Apply({{"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"}, {"anci", "ance"}, {"izer", "ize"},
         {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"}, {"eli", "e"},     {"ousli", "ous"},
         {"ization", "ize"}, {"ation", "ate"},   {"ator", "ate"},  {"alism", "al"},  {"iveness", "ive"},
         {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},  {"iviti", "ive"}, {"biliti", "ble"},
         {"fulli", "ful"}},
        0, word);
}

void LastSuffix(std::string* word) {
  if (Ends(*word, "ion")) {
    const std::string stem = Without(*word, 3);
    if (Measure(stem) > 1 && (stem.back() == 's' || stem.back() == 't')) *word = stem;
    return;
  }
  Apply({{"al", ""},
         {"ance", ""},
         {"ence", ""},
         {"er", ""},
         {"ic", ""},
         {"able", ""},
         {"ible", ""},
         {"ant", ""},
         {"ement", ""},
         {"ment", ""},
         {"ent", ""},
         {"ou", ""},
         {"ism", ""},
         {"ate", ""},
         {"iti", ""},
         {"ous", ""},
         {"ive", ""},
         {"ize", ""}},
        1, word);
}

void FinalE(std::string* word) {
  if (!Ends(*word, "e")) return;
  const std::string stem = Without(*word, 1);
  const int m = Measure(stem);
  if (m > 1 || (m == 1 && !EndsShort(stem))) *word = stem;
}

void FinalLl(std::string* word) {
  if (Ends(*word, "ll") && Measure(Without(*word, 1)) > 1) word->pop_back();
}

}  // namespace

std::string PorterStem(const std::string& word) {
  if (word.size() <= 2) return word;
  if (std::string stem = Irregular(word); !stem.empty()) return stem;
  std::string stem = word;
  Plural(&stem);
  Past(&stem);
  FinalY(&stem);
  DoubleSuffix(&stem);
  Apply({{"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"}, {"ical", "ic"}, {"ful", ""}, {"ness", ""}},
        0, &stem);
  LastSuffix(&stem);
  FinalE(&stem);
  FinalLl(&stem);
  return stem;
}

}  // namespace tenon::engine
