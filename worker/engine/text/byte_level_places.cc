// Tokens of byte-level BPE by what they stand for in a text.
#include <algorithm>
#include <limits>
#include <utility>

#include "worker/engine/text/byte_level_tokenizer.h"
#include "worker/engine/text/byte_level_words.h"

namespace tenon::engine {
namespace {

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

// Whole characters, without blanks at either end (`trim_offsets`).
TextPlace Widened(const std::string& text, size_t begin, size_t end) {
  const auto inside = [&](size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
  };
  while (begin > 0 && inside(begin)) --begin;
  while (inside(end)) ++end;
  while (begin < end && text[begin] == ' ') ++begin;
  while (end > begin && text[end - 1] == ' ') --end;
  return {begin, end};
}

}  // namespace

void ByteLevelTokenizer::Walk(const std::string& text, const std::function<void(size_t, size_t)>& stretch,
                              const std::function<void(int32_t, size_t, size_t)>& token) const {
  for (const TextPiece& piece : first_.Cut(text)) {
    if (piece.id >= 0) {
      token(piece.id, piece.begin, piece.end);
      continue;
    }
    for (const TextPiece& part : second_.Cut(text.substr(piece.begin, piece.end - piece.begin))) {
      const size_t begin = piece.begin + part.begin, end = piece.begin + part.end;
      if (part.id >= 0) {
        token(part.id, begin, end);
      } else {
        stretch(begin, end);
      }
    }
  }
}

std::vector<int32_t> ByteLevelTokenizer::EncodeWord(const std::string& word) const {
  std::vector<int32_t> ids;
  BytePairs::Workspace workspace;
  Walk(
      word,
      [&](size_t begin, size_t end) {
        // As in a tokenizer with add_prefix_space, whatever this one does with a text.
        const bool space = !add_prefix_space_ && word[begin] != ' ';
        AppendWords((space ? " " : "") + word.substr(begin, end - begin), kNoLimit, &workspace, &ids);
      },
      [&](int32_t id, size_t, size_t) { ids.push_back(id); });
  return ids;
}

PlacedTokens ByteLevelTokenizer::EncodePlaces(const std::string& text) const {
  PlacedTokens tokens;
  BytePairs::Workspace workspace;
  const auto stretch = [&](size_t begin, size_t end) {
    std::string part = text.substr(begin, end - begin);
    // Bytes that are none of the text's.
    const size_t added = add_prefix_space_ && part.front() != ' ' ? 1 : 0;
    if (added > 0) part.insert(part.begin(), ' ');
    const auto place = [&](size_t at) { return begin + std::max(at, added) - added; };
    const char* const stop = part.data() + part.size();
    for (const char* p = part.data(); p != stop;) {
      const size_t bytes = WordBytes(p, stop), before = tokens.ids.size();
      model_.Encode(std::string_view(p, bytes), &workspace, &tokens.ids);
      size_t at = static_cast<size_t>(p - part.data());
      const size_t word_end = at + bytes;
      for (size_t i = before; i < tokens.ids.size(); ++i) {
        const auto token = tokens_.find(tokens.ids[i]);
        const size_t wide = token == tokens_.end() ? 0 : token->second.bytes.size();
        const size_t token_end = i + 1 == tokens.ids.size() ? word_end : std::min(at + wide, word_end);
        tokens.places.push_back(Widened(text, place(at), place(token_end)));
        at = token_end;
      }
      p += bytes;
    }
  };
  Walk(text, stretch, [&](int32_t id, size_t begin, size_t end) {
    tokens.ids.push_back(id);
    tokens.places.push_back({begin, end});
  });
  return tokens;
}

PlaceTokenizer::Row ByteLevelTokenizer::Around(const std::vector<int32_t>& ids) const {
  Row row{.first = around_.before.size()};
  for (const auto* part : {&around_.before, &ids, &around_.after}) {
    row.encoding.ids.insert(row.encoding.ids.end(), part->begin(), part->end());
  }
  return row;
}

PlaceTokenizer::Row ByteLevelTokenizer::AroundPair(const std::vector<int32_t>& first,
                                                   const std::vector<int32_t>& second) const {
  Row row{.first = around_.before_pair.size()};
  row.second = row.first + first.size() + around_.between.size();
  for (const auto* part : {&around_.before_pair, &first, &around_.between, &second, &around_.after_pair}) {
    row.encoding.ids.insert(row.encoding.ids.end(), part->begin(), part->end());
  }
  return row;
}

}  // namespace tenon::engine
