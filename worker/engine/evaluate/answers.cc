#include "worker/engine/evaluate/answers.h"

#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"

namespace tenon::engine {
namespace {

std::string Lower(const std::string& text) {
  UErrorCode status = U_ZERO_ERROR;
  std::string lower;
  icu::StringByteSink<std::string> sink(&lower, static_cast<int32_t>(text.size()));
  icu::CaseMap::utf8ToLower("", 0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink, nullptr,
                            status);
  return U_SUCCESS(status) ? lower : text;
}

// A character of a word as Python's regular expressions have them, beside which an article does not end.
bool IsOfWord(UChar32 c) {
  constexpr uint32_t kMask = U_GC_L_MASK | U_GC_N_MASK;
  return c >= 0 && (c == '_' || (U_GET_GC_MASK(c) & kMask) != 0);
}

bool IsSpace(UChar32 c) { return c >= 0 && (u_isUWhiteSpace(c) != 0 || (c >= 0x1C && c <= 0x1F)); }

bool IsArticle(const std::string& run) { return run == "a" || run == "an" || run == "the"; }

double Overlap(const std::vector<std::string>& truth, const std::vector<std::string>& predicted) {
  if (truth.empty() || predicted.empty()) return truth == predicted ? 1 : 0;
  std::map<std::string, int64_t> left;
  for (const std::string& word : truth) ++left[word];
  int64_t same = 0;
  for (const std::string& word : predicted) same += left[word]-- > 0;
  if (same == 0) return 0;
  const double precision = static_cast<double>(same) / static_cast<double>(predicted.size());
  const double recall = static_cast<double>(same) / static_cast<double>(truth.size());
  return 2 * precision * recall / (precision + recall);
}

void AddTo(AnswerScores::Means& sums, double exact, double f1) {
  sums.exact_match += exact;
  sums.f1 += f1;
  ++sums.rows;
}

AnswerScores::Means MeanOf(AnswerScores::Means sums) {
  if (sums.rows == 0) return sums;
  sums.exact_match /= static_cast<double>(sums.rows);
  sums.f1 /= static_cast<double>(sums.rows);
  return sums;
}

}  // namespace

std::vector<std::string> SquadWords(const std::string& text) {
  std::string plain;
  for (const char c : Lower(text)) {
    if (!absl::ascii_ispunct(static_cast<unsigned char>(c))) plain += c;
  }
  // Runs of a word's characters, articles left out; what is neither that nor white space stays where it is.
  std::vector<std::string> words;
  std::string word, run;
  const auto end_run = [&] {
    if (IsArticle(run)) {
      if (!word.empty()) words.push_back(std::move(word));
      word.clear();
    } else {
      word += run;
    }
    run.clear();
  };
  const auto end_word = [&] {
    end_run();
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  const auto size = static_cast<int32_t>(plain.size());
  for (int32_t i = 0; i < size;) {
    const int32_t begin = i;
    UChar32 c = 0;
    U8_NEXT(plain.data(), i, size, c);
    const std::string character = plain.substr(static_cast<size_t>(begin), static_cast<size_t>(i - begin));
    if (IsSpace(c)) {
      end_word();
    } else if (IsOfWord(c)) {
      run += character;
    } else {
      end_run();
      word += character;
    }
  }
  end_word();
  return words;
}

void AnswerEvaluator::Add(const std::vector<std::string>& truth, const std::string& predicted) {
  const std::vector<std::string> words = SquadWords(predicted);
  double exact = 0, f1 = 0;
  // As the script: answers that leave nothing to compare are none.
  std::vector<std::vector<std::string>> wanted;
  for (const std::string& one : truth) {
    wanted.push_back(SquadWords(one));
    if (wanted.back().empty()) wanted.pop_back();
  }
  if (wanted.empty()) wanted.emplace_back();
  for (const std::vector<std::string>& one : wanted) {
    exact = std::max(exact, one == words ? 1.0 : 0.0);
    f1 = std::max(f1, Overlap(one, words));
  }
  AddTo(sums_, exact, f1);
  AddTo(truth.empty() ? without_ : with_, exact, f1);
}

AnswerScores AnswerEvaluator::Finish() const { return {MeanOf(sums_), MeanOf(with_), MeanOf(without_)}; }

}  // namespace tenon::engine
