#include "worker/engine/text/wordpiece_tokenizer.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <utility>

#include "common/formats/status.h"
#include "worker/engine/text/longest_first.h"

namespace tenon::engine {
namespace {

size_t Room(int64_t max_tokens) { return static_cast<size_t>(std::max<int64_t>(max_tokens, 0)); }

void Join(std::initializer_list<const std::vector<int32_t>*> parts, std::vector<int32_t>* ids) {
  for (const auto* part : parts) ids->insert(ids->end(), part->begin(), part->end());
}

// Less room than the special tokens need.
void CutTo(size_t room, Encoding* encoding) {
  if (encoding->ids.size() <= room) return;
  encoding->ids.resize(room);
  encoding->truncated = true;
}

}  // namespace

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
      types_(spec.types),
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

std::vector<int32_t> WordPieceTokenizer::Body(const std::string& text, size_t limit) const {
  std::vector<int32_t> body;
  for (const TextPiece& piece : raw_.Cut(text)) {
    if (piece.id >= 0) {
      body.push_back(piece.id);
      if (body.size() > limit) break;
    } else if (!EncodePiece(text, piece.begin, piece.end, limit, &body)) {
      break;
    }
  }
  return body;
}

Encoding WordPieceTokenizer::Encode(const std::string& text, int64_t max_tokens) const {
  Encoding encoding;
  const size_t room = Room(max_tokens);
  const size_t around = prefix_.size() + suffix_.size();
  const size_t limit = room > around ? room - around : 0;
  std::vector<int32_t> body = Body(text, limit);
  encoding.truncated = body.size() > limit;
  if (encoding.truncated) body.resize(limit);
  encoding.ids.reserve(around + body.size());
  Join({&prefix_, &body, &suffix_}, &encoding.ids);
  CutTo(room, &encoding);
  return encoding;
}

Encoding WordPieceTokenizer::EncodePair(const std::string& first, const std::string& second, int64_t max_tokens) const {
  const size_t room = Room(max_tokens);
  const size_t around = prefix_.size() + 2 * suffix_.size();
  // Whole: which one is the longer decides where an odd token goes.
  constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();
  std::vector<int32_t> a = Body(first, kNoLimit), b = Body(second, kNoLimit);
  const auto [keep_a, keep_b] = LongestFirst(a.size(), b.size(), room > around ? room - around : 0);
  Encoding encoding;
  encoding.truncated = keep_a < a.size() || keep_b < b.size();
  a.resize(keep_a);
  b.resize(keep_b);
  Join({&prefix_, &a, &suffix_}, &encoding.ids);
  if (types_) encoding.second_type = static_cast<int64_t>(encoding.ids.size());
  Join({&b, &suffix_}, &encoding.ids);
  CutTo(room, &encoding);
  return encoding;
}

}  // namespace tenon::engine
