// Sentences of a text, by ICU's rules (Unicode Standard Annex 29), with English abbreviations and initials kept whole.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tenon::engine {

// Bytes [begin, end) of a text, without white space at either end.
struct Sentence {
  size_t begin = 0, end = 0;
  friend bool operator==(const Sentence&, const Sentence&) = default;
};

// Thread-safe. Costly to make (the rules are read and compiled), cheap to use: keep one.
class SentenceSplitter {
 public:
  // INTERNAL when ICU's data are not there.
  static absl::StatusOr<SentenceSplitter> Make();

  SentenceSplitter(SentenceSplitter&&) noexcept;
  SentenceSplitter& operator=(SentenceSplitter&&) noexcept;
  ~SentenceSplitter();

  // The sentences of `text`, which is UTF-8, in order. A line's end is always a sentence's end, so that a dialogue
  // with a turn on each line keeps its turns apart. What has no letter and no digit (`...`, `:-)`) belongs to the
  // sentence before it on its line. No sentences for a text of white space alone.
  std::vector<Sentence> Split(const std::string& text) const;

 private:
  struct Rules;
  explicit SentenceSplitter(std::unique_ptr<Rules> rules);

  std::unique_ptr<Rules> rules_;
};

}  // namespace tenon::engine
