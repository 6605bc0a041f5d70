// Text of a sequence while it is written: what can be shown already, and whether a stop string has come. Free of torch.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace tenon::engine {

// Text of token ids, special ones left out. More ids may only add to the text, except that a character whose bytes are
// not all there yet may be missing, cut, or U+FFFD at the end, and that a space at the end goes where clean_up.h has it
// so.
using Detokenizer = std::function<std::string(absl::Span<const int32_t>)>;

// Where the first stop string in `text` begins, looking from `from` on; npos: there is none.
size_t FindStop(const std::string& text, const std::vector<std::string>& stops, size_t from = 0);

// `text` up to the first stop string.
std::string CutAtStop(std::string text, const std::vector<std::string>& stops);

// How many bytes of `text` stay whatever follows: without the end that may be part of a character or of a stop string,
// or whose space may go.
size_t SettledBytes(const std::string& text, const std::vector<std::string>& stops);

// One sequence's text, given out in pieces that are never taken back; together they are the text up to a stop string.
class TextStream {
 public:
  TextStream(Detokenizer detokenize, std::vector<std::string> stops)
      : detokenize_(std::move(detokenize)), stops_(std::move(stops)) {}

  // The text that `tokens`, all of the sequence's so far, settle beyond what was given out. Once a stop string is
  // complete, stopped() holds and the rest of the text before it comes out.
  std::string Add(absl::Span<const int32_t> tokens);
  // What was held back, when nothing more follows.
  std::string Finish();
  bool stopped() const { return stopped_; }
  // Everything given out so far.
  std::string shown() const { return text_.substr(0, shown_); }

 private:
  std::string ShowUpTo(size_t end);

  const Detokenizer detokenize_;
  const std::vector<std::string> stops_;
  std::string text_;
  size_t shown_ = 0;
  bool stopped_ = false;
};

}  // namespace tenon::engine
