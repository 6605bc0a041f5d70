#include "worker/engine/spans/answer_windows.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::engine {

std::pair<int64_t, int64_t> AnswerWindows::Target(size_t index, const std::optional<TextPlace>& answer) const {
  const AnswerWindow& window = windows[index];
  if (!answer.has_value() || window.count == 0) return {0, 0};
  const auto begin = context.places.begin() + static_cast<std::ptrdiff_t>(window.first);
  const auto end = begin + static_cast<std::ptrdiff_t>(window.count);
  if (begin->begin > answer->begin || (end - 1)->end < answer->end) return {0, 0};
  // The last token that begins at or before the answer's beginning, and the first that ends at or behind its end.
  auto from = begin, to = end - 1;
  while (from != end && from->begin <= answer->begin) ++from;
  while (to >= begin && to->end >= answer->end) --to;
  const auto place = [&](auto at) { return static_cast<int64_t>(window.row_place) + (at - begin); };
  return {place(from - 1), place(to + 1)};
}

absl::StatusOr<AnswerWindows> CutContext(const PlaceTokenizer& tokenizer, const std::string& question,
                                         const std::string& context, int64_t max_tokens, int64_t doc_stride,
                                         const std::string& field) {
  const std::vector<int32_t> asked = tokenizer.EncodePlaces(question).ids;
  const auto around = static_cast<int64_t>(tokenizer.AroundPair(asked, {}).encoding.ids.size());
  const int64_t room = max_tokens - around;
  if (room < 1) {
    return TenonError(Reason::kTextTooLarge,
                      absl::StrCat(field, ": the question has ", asked.size(), " tokens; of the ", max_tokens,
                                   " that the model reads none is left for the context"),
                      field);
  }
  AnswerWindows made;
  made.context = tokenizer.EncodePlaces(context);
  const std::vector<int32_t>& ids = made.context.ids;
  const auto size = static_cast<int64_t>(ids.size());
  const int64_t step = room - std::min(doc_stride > 0 ? doc_stride : kDocStride, room / 2);
  for (int64_t first = 0;; first += step) {
    const int64_t last = std::min(first + room, size);
    PlaceTokenizer::Row row = tokenizer.AroundPair(asked, {ids.begin() + first, ids.begin() + last});
    made.windows.push_back({.encoding = std::move(row.encoding),
                            .row_place = row.second,
                            .first = static_cast<size_t>(first),
                            .count = static_cast<size_t>(last - first)});
    if (last == size) return made;
  }
}

}  // namespace tenon::engine
