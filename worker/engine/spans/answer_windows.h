// Rows of a question and a context that may be longer than a model reads. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/text/tokenizer.h"

namespace tenon::engine {

// Tokens that neighbouring windows share when nobody says otherwise, as in transformers' examples.
inline constexpr int64_t kDocStride = 128;

// A row of the question and context tokens [first, first + count).
struct AnswerWindow {
  Encoding encoding;
  size_t row_place = 0;  // of the first of them in the row
  size_t first = 0, count = 0;
};

struct AnswerWindows {
  PlacedTokens context;
  std::vector<AnswerWindow> windows;  // at least one

  // Row places of an answer's first and last token in a window, as transformers' examples find them; 0 and 0, the first
  // special token, for one that is not whole in it, and for none.
  std::pair<int64_t, int64_t> Target(size_t window, const std::optional<TextPlace>& answer) const;
};

// Windows of at most `max_tokens` tokens, each with the whole question, that share `doc_stride` context tokens (0:
// kDocStride), at most half of a window's: `truncation="only_second", stride=..., return_overflowing_tokens=True` of
// Hugging Face. TEXT_TOO_LARGE names `field` when the question leaves no room.
absl::StatusOr<AnswerWindows> CutContext(const PlaceTokenizer& tokenizer, const std::string& question,
                                         const std::string& context, int64_t max_tokens, int64_t doc_stride,
                                         const std::string& field);

}  // namespace tenon::engine
