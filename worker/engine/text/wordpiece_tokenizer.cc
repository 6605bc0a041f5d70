#include "worker/engine/text/wordpiece_tokenizer.h"

#include <algorithm>
#include <utility>

#include "common/formats/status.h"

namespace tenon::engine {

absl::StatusOr<std::unique_ptr<const WordPieceTokenizer>> WordPieceTokenizer::Create(WordPieceSpec spec) {
  std::string separator;
  for (const auto& [token, id] : spec.vocabulary.ids) {
    if (!spec.suffix.empty() && id == spec.suffix.back()) separator = token;
  }
  ASSIGN_OR_RETURN(WordPiece model, WordPiece::Create(std::move(spec.vocabulary)));
  return std::unique_ptr<const WordPieceTokenizer>(
      new WordPieceTokenizer(std::move(model), std::move(spec), std::move(separator)));
}

WordPieceTokenizer::WordPieceTokenizer(WordPiece model, WordPieceSpec spec, std::string separator)
    : model_(std::move(model)),
      normalizer_(spec.normalizer),
      prefix_(std::move(spec.prefix)),
      suffix_(std::move(spec.suffix)),
      separator_(std::move(separator)),
      size_(model_.size()) {
  std::vector<AddedToken> raw, normalized;
  for (AddedToken& token : spec.added_tokens) {
    size_ = std::max<int64_t>(size_, int64_t{token.id} + 1);
    if (token.normalized) token.content = normalizer_.Normalize(token.content);
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  raw_ = AddedTokens(std::move(raw));
  normalized_ = AddedTokens(std::move(normalized));
}

bool WordPieceTokenizer::EncodePiece(const std::string& text, size_t begin, size_t end, size_t limit,
                                     std::vector<int32_t>* ids) const {
  WordBuilder words(model_.max_characters(), [&](const std::string& word, int64_t characters) {
    model_.Encode(word, characters, ids);
    return ids->size() <= limit;
  });
  const auto put = [&](CodePoint c) { return words.Put(c); };
  if (normalized_.empty()) return normalizer_.Run(text.data() + begin, text.data() + end, put) && words.Finish();

  const std::string clean = normalizer_.Normalize(text.substr(begin, end - begin));
  for (const TextPiece& piece : normalized_.Cut(clean)) {
    if (piece.id >= 0) {
      ids->push_back(piece.id);
      if (ids->size() > limit) return false;
      continue;
    }
    const char* p = clean.data() + piece.begin;
    const char* const stop = clean.data() + piece.end;
    while (p != stop) {
      if (!put(ReadUtf8(&p, stop))) return false;
    }
    if (!words.Finish()) return false;
  }
  return true;
}

Encoding WordPieceTokenizer::Encode(const std::string& text, int64_t max_tokens) const {
  Encoding encoding;
  const size_t room = static_cast<size_t>(std::max<int64_t>(max_tokens, 0));
  const size_t around = prefix_.size() + suffix_.size();
  const size_t limit = room > around ? room - around : 0;
  std::vector<int32_t> body;
  for (const TextPiece& piece : raw_.Cut(text)) {
    if (piece.id >= 0) {
      body.push_back(piece.id);
      if (body.size() > limit) break;
    } else if (!EncodePiece(text, piece.begin, piece.end, limit, &body)) {
      break;
    }
  }
  encoding.truncated = body.size() > limit;
  if (encoding.truncated) body.resize(limit);
  encoding.ids.reserve(around + body.size());
  encoding.ids.insert(encoding.ids.end(), prefix_.begin(), prefix_.end());
  encoding.ids.insert(encoding.ids.end(), body.begin(), body.end());
  encoding.ids.insert(encoding.ids.end(), suffix_.begin(), suffix_.end());
  // Less room than the special tokens need.
  if (encoding.ids.size() > room) {
    encoding.ids.resize(room);
    encoding.truncated = true;
  }
  return encoding;
}

}  // namespace tenon::engine
