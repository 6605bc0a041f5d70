// BERT's text clean-up and word splitting, in one pass over the bytes: Hugging Face's BertNormalizer and
// BertPreTokenizer.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "worker/engine/text/unicode.h"

namespace tenon::engine {

// `normalizer` of tokenizer.json.
struct BertNormalizerOptions {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};

// Immutable; safe from any thread.
class BertNormalizer {
 public:
  explicit BertNormalizer(const BertNormalizerOptions& options);

  // Calls put(CodePoint) -> bool with each normalized character of [p, end), until it returns false. False when it did.
  // Or put(CodePoint, const char* from, const char* to), which is told what it was made of, too.
  template <typename Put>
  bool Run(const char* p, const char* end, Put put) const;

  std::string Normalize(const std::string& text) const;

 private:
  static constexpr int32_t kDropped = -1;
  static constexpr int32_t kSlow = -2;
  // A mark that goes, but that others are not sorted across (class 0).
  static constexpr int32_t kBarrier = -3;
  // A combining character that waits for its place in canonical order.
  struct Waiting {
    uint8_t combining;
    CodePoint c;
    const char *from, *to;
  };
  using Pending = std::vector<Waiting>;

  // What a character becomes when it stands alone: one character, kDropped, kBarrier, or kSlow for all else.
  int32_t Simple(CodePoint c) const;
  // The slow way: what `c` becomes, in order, with marks not yet sorted.
  void Expand(CodePoint c, std::vector<CodePoint>* out) const;
  void Decomposed(CodePoint c, std::vector<CodePoint>* out) const;
  CodePoint Lower(CodePoint c) const { return options_.lowercase ? ToLower(c) : c; }

  template <typename Put>
  static bool PutOne(Put& put, CodePoint c, const char* from, const char* to) {
    if constexpr (std::is_invocable_v<Put&, CodePoint>) {
      return put(c);
    } else {
      return put(c, from, to);
    }
  }
  template <typename Put>
  bool Flush(Pending* pending, Put& put) const;

  BertNormalizerOptions options_;
  // By code point: Simple() of the first block, most of what Latin, Greek, Cyrillic, Hebrew and Arabic text needs.
  static constexpr int kTable = 0x800;
  std::array<int32_t, kTable> table_;
};

template <typename Put>
bool BertNormalizer::Flush(Pending* pending, Put& put) const {
  std::stable_sort(pending->begin(), pending->end(),
                   [](const Waiting& a, const Waiting& b) { return a.combining < b.combining; });
  for (const auto& [combining, c, from, to] : *pending) {
    if (!PutOne(put, Lower(c), from, to)) return false;
  }
  pending->clear();
  return true;
}

template <typename Put>
bool BertNormalizer::Run(const char* p, const char* end, Put put) const {
  Pending pending;
  std::vector<CodePoint> expanded;
  while (p != end) {
    const char* const from = p;
    const CodePoint c = ReadUtf8(&p, end);
    const int32_t simple = c < kTable ? table_[static_cast<size_t>(c)] : Simple(c);
    if (simple == kDropped) continue;
    if (simple != kSlow) {
      if (!pending.empty() && !Flush(&pending, put)) return false;
      if (simple != kBarrier && !PutOne(put, simple, from, p)) return false;
      continue;
    }
    expanded.clear();
    Expand(c, &expanded);
    for (const CodePoint x : expanded) {
      if (x == kBarrier) {
        if (!Flush(&pending, put)) return false;
        continue;
      }
      const uint8_t combining = options_.strip_accents ? CombiningClass(x) : 0;
      if (combining != 0) {
        pending.push_back({combining, x, from, p});
        continue;
      }
      if (!Flush(&pending, put)) return false;
      // Only this letter's lower case is two characters.
      if (options_.lowercase && x == 0x130 && !(PutOne(put, 'i', from, p) && PutOne(put, 0x307, from, p))) return false;
      if (!(options_.lowercase && x == 0x130) && !PutOne(put, Lower(x), from, p)) return false;
    }
  }
  return Flush(&pending, put);
}

// What parts words.
inline bool IsWordSpace(CodePoint c) { return c < 0x80 ? c == ' ' || (c >= '\t' && c <= '\r') : IsWhitespace(c); }

// Puts characters together to words: white space separates, a punctuation character is a word of its own.
//
// Word(const std::string& utf8, int64_t characters) -> bool is called for each; false stops. Of a word longer than
// `max_characters` only the beginning is kept, but all of it is counted.
template <typename Word>
class WordBuilder {
 public:
  WordBuilder(int64_t max_characters, Word word) : max_characters_(max_characters), word_(std::move(word)) {}

  bool Put(CodePoint c) {
    if (IsWordSpace(c)) return Finish();
    if (!IsPunctuation(c)) {
      Append(c);
      return true;
    }
    if (!Finish()) return false;
    Append(c);
    return Finish();
  }
  // Ends the word at hand, also at the end of the text.
  bool Finish() {
    if (characters_ == 0) return true;
    const bool more = word_(text_, characters_);
    text_.clear();
    characters_ = 0;
    return more;
  }

 private:
  void Append(CodePoint c) {
    if (characters_++ >= max_characters_) return;
    char bytes[4];
    text_.append(bytes, static_cast<size_t>(WriteUtf8(c, bytes)));
  }

  const int64_t max_characters_;
  Word word_;
  std::string text_;
  int64_t characters_ = 0;
};

}  // namespace tenon::engine
