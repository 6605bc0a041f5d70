#include "worker/engine/spans/tag_windows.h"

#include <algorithm>
#include <limits>

namespace tenon::engine {
namespace {

constexpr size_t kOverlap = 4;  // a window's tokens by those that it shares with the next

TagWindow MakeWindow(const PlaceTokenizer& tokenizer, const std::vector<std::vector<int32_t>>& tokens, size_t first,
                     size_t last) {
  TagWindow window{.first_word = first};
  std::vector<int32_t> ids;
  for (size_t word = first; word < last; ++word) {
    window.word_tokens.push_back(tokens[word].empty() ? -1 : static_cast<int64_t>(ids.size()));
    ids.insert(ids.end(), tokens[word].begin(), tokens[word].end());
  }
  PlaceTokenizer::Row row = tokenizer.Around(ids);
  for (int64_t& place : window.word_tokens) {
    if (place >= 0) place += static_cast<int64_t>(row.first);
  }
  window.encoding = std::move(row.encoding);
  return window;
}

// Words between a word and the nearer end of its window; an end of the text is none.
size_t Room(const TagWindow& window, size_t word, size_t words) {
  constexpr size_t kFar = std::numeric_limits<size_t>::max();
  const size_t end = window.first_word + window.word_tokens.size();
  return std::min(window.first_word == 0 ? kFar : word - window.first_word, end == words ? kFar : end - 1 - word);
}

}  // namespace

std::vector<TagWindow> CutWords(const PlaceTokenizer& tokenizer, const std::vector<std::string>& words,
                                int64_t max_tokens) {
  const auto around = static_cast<int64_t>(tokenizer.Around({}).encoding.ids.size());
  const auto room = static_cast<size_t>(std::max<int64_t>(max_tokens - around, 1));
  std::vector<std::vector<int32_t>> tokens;
  for (const std::string& word : words) {
    tokens.push_back(tokenizer.EncodeWord(word));
    if (tokens.back().size() > room) tokens.back().resize(room);
  }
  std::vector<TagWindow> windows;
  for (size_t first = 0, done = 0; done < words.size();) {
    size_t last = first, used = 0;
    while (last < words.size() && used + tokens[last].size() <= room) used += tokens[last++].size();
    windows.push_back(MakeWindow(tokenizer, tokens, first, last));
    done = last;
    if (done == words.size()) break;
    // Back from the end as far as may be shared, and the next word still fits.
    size_t next = last, shared = 0;
    const size_t most = std::min(room / kOverlap, room - tokens[last].size());
    while (next > first + 1 && shared + tokens[next - 1].size() <= most) shared += tokens[--next].size();
    first = next;
  }
  return windows;
}

std::vector<std::vector<float>> WordLogits(const std::vector<TagWindow>& windows, size_t words,
                                           absl::Span<const std::vector<float>* const> rows, size_t labels) {
  std::vector<std::vector<float>> logits(words, std::vector<float>(labels));
  std::vector<size_t> room(words);
  std::vector<bool> seen(words);
  for (size_t w = 0; w < windows.size(); ++w) {
    const TagWindow& window = windows[w];
    for (size_t i = 0; i < window.word_tokens.size(); ++i) {
      const size_t word = window.first_word + i, own = Room(window, word, words);
      if (window.word_tokens[i] < 0 || (seen[word] && own <= room[word])) continue;
      const auto from = rows[w]->begin() + window.word_tokens[i] * static_cast<std::ptrdiff_t>(labels);
      logits[word].assign(from, from + static_cast<std::ptrdiff_t>(labels));
      room[word] = own;
      seen[word] = true;
    }
  }
  return logits;
}

}  // namespace tenon::engine
