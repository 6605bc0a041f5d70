// Tokens of WordPiece by what they stand for in a text.
#include <limits>
#include <utility>

#include "worker/engine/text/wordpiece_tokenizer.h"

namespace tenon::engine {
namespace {

bool BeginsCharacter(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

}  // namespace

std::vector<int32_t> WordPieceTokenizer::EncodeWord(const std::string& word) const {
  return Body(word, std::numeric_limits<size_t>::max());
}

void WordPieceTokenizer::PlacePiece(const std::string& text, size_t begin, size_t end, PlacedTokens* tokens) const {
  std::string clean;
  std::vector<TextPlace> sources;  // of each byte of `clean`
  const auto keep = [&](CodePoint c, const char* from, const char* to) {
    char bytes[4];
    clean.append(bytes, static_cast<size_t>(WriteUtf8(c, bytes)));
    sources.resize(clean.size(), {static_cast<size_t>(from - text.data()), static_cast<size_t>(to - text.data())});
    return true;
  };
  normalizer_.Run(text.data() + begin, text.data() + end, keep);

  // Places of the characters that wait to become words, in order.
  std::vector<TextPlace> waiting;
  size_t taken = 0;
  std::vector<size_t> ends;
  WordBuilder words(model_.max_characters(), [&](const std::string& word, int64_t characters) {
    ends.clear();
    model_.Encode(word, characters, &tokens->ids, &ends);
    const TextPlace* const of = waiting.data() + taken;
    size_t byte = 0, character = 0;
    for (const size_t piece_end : ends) {
      const size_t first = character;
      for (; byte < piece_end; ++byte) character += BeginsCharacter(word[byte]) ? 1 : 0;
      // An unknown word may be longer than what was kept of it.
      const size_t last = piece_end == ends.back() ? static_cast<size_t>(characters) : character;
      tokens->places.push_back({of[first].begin, of[last - 1].end});
    }
    taken += static_cast<size_t>(characters);
    return true;
  });
  const auto pieces = normalized_.empty() ? std::vector<TextPiece>{{-1, 0, clean.size()}} : normalized_.Cut(clean);
  for (const TextPiece& piece : pieces) {
    if (piece.id >= 0) {
      tokens->ids.push_back(piece.id);
      tokens->places.push_back({sources[piece.begin].begin, sources[piece.end - 1].end});
      continue;
    }
    const char* p = clean.data() + piece.begin;
    const char* const stop = clean.data() + piece.end;
    while (p != stop) {
      const TextPlace source = sources[static_cast<size_t>(p - clean.data())];
      const CodePoint c = ReadUtf8(&p, stop);
      if (!IsWordSpace(c)) waiting.push_back(source);
      words.Put(c);
    }
    words.Finish();
  }
}

PlacedTokens WordPieceTokenizer::EncodePlaces(const std::string& text) const {
  PlacedTokens tokens;
  for (const TextPiece& piece : raw_.Cut(text)) {
    if (piece.id >= 0) {
      tokens.ids.push_back(piece.id);
      tokens.places.push_back({piece.begin, piece.end});
    } else {
      PlacePiece(text, piece.begin, piece.end, &tokens);
    }
  }
  return tokens;
}

PlaceTokenizer::Row WordPieceTokenizer::Around(const std::vector<int32_t>& ids) const {
  Row row{.first = prefix_.size()};
  for (const auto* part : {&prefix_, &ids, &suffix_}) {
    row.encoding.ids.insert(row.encoding.ids.end(), part->begin(), part->end());
  }
  return row;
}

PlaceTokenizer::Row WordPieceTokenizer::AroundPair(const std::vector<int32_t>& first,
                                                   const std::vector<int32_t>& second) const {
  Row row = Around(first);
  row.second = row.encoding.ids.size();
  if (types_) row.encoding.second_type = static_cast<int64_t>(row.second);
  for (const auto* part : {&second, &suffix_}) {
    row.encoding.ids.insert(row.encoding.ids.end(), part->begin(), part->end());
  }
  return row;
}

}  // namespace tenon::engine
