#include "worker/engine/text/t5_tokenizer.h"

#include <algorithm>
#include <limits>
#include <unordered_set>
#include <utility>

#include "common/formats/status.h"
#include "common/formats/utf8.h"
#include "worker/engine/text/clean_up.h"
#include "worker/engine/text/longest_first.h"
#include "worker/engine/text/unicode.h"

namespace tenon::engine {
namespace {

constexpr std::string_view kMeta = "\xE2\x96\x81";  // U+2581, what stands for a space in a piece
constexpr CodePoint kMetaCodePoint = 0x2581;

// Cuts normalized text at white space, marks where words begin with U+2581, and also cuts before each such mark that
// the text itself has.
template <typename Word>
class WordCutter {
 public:
  explicit WordCutter(Word word) : word_(std::move(word)) {}

  // False once a word's callback gave false.
  bool Put(std::string_view part) {
    const char* const end = part.data() + part.size();
    for (const char* p = part.data(); p != end;) {
      const char* const begin = p;
      const CodePoint c = ReadUtf8(&p, end);
      if (c < 0x80 ? c == ' ' || (c >= '\t' && c <= '\r') : IsWhitespace(c)) {
        if (!Finish()) return false;
        continue;
      }
      if (c == kMetaCodePoint) {
        if (!Finish()) return false;
      } else if (text_.empty()) {
        text_ = kMeta;
      }
      text_.append(begin, p);
    }
    return true;
  }
  // Ends the word at hand, also at the end of the text.
  bool Finish() {
    if (text_.empty()) return true;
    const bool more = word_(text_);
    text_.clear();
    return more;
  }

 private:
  Word word_;
  std::string text_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<const T5Tokenizer>> T5Tokenizer::Create(T5Spec spec) {
  // The id that transformers gives T5's unknown piece, whatever the files say; their readers see to it that they agree.
  constexpr int32_t kUnknown = 2;
  ASSIGN_OR_RETURN(Unigram model, Unigram::Create(spec.pieces, kUnknown));
  return std::unique_ptr<const T5Tokenizer>(new T5Tokenizer(std::move(model), std::move(spec)));
}

T5Tokenizer::T5Tokenizer(Unigram model, T5Spec spec)
    : model_(std::move(model)), charsmap_(std::move(spec.charsmap)), clean_up_spaces_(spec.clean_up_spaces) {
  for (UnigramPiece& piece : spec.pieces) tokens_.push_back({std::move(piece.text)});
  std::vector<AddedToken> raw, normalized;
  std::unordered_set<std::string> known, special;
  for (AddedToken& token : spec.added_tokens) {
    if (!known.insert(token.content).second) continue;
    token.id = model_.Find(token.content);
    if (token.id < 0) {
      token.id = static_cast<int32_t>(tokens_.size());
      tokens_.emplace_back();
    }
    if (token.special) special.insert(token.content);
    if (token.content == spec.eos_token) eos_ = token.id;
    if (token.normalized) token.content = charsmap_.Normalize(token.content);
    // Also what it is decoded to is normalized then.
    tokens_[static_cast<size_t>(token.id)].text = token.content;
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  // By text, as the reference has it: a piece may occur twice, and a special token that normalization changes is
  // decoded.
  for (Token& token : tokens_) token.special = special.count(token.text) > 0;
  raw_ = AddedTokens(std::move(raw));
  normalized_ = AddedTokens(std::move(normalized));
}

void T5Tokenizer::Append(const std::string& text, size_t limit, std::vector<int32_t>* ids) const {
  Unigram::Workspace workspace;
  WordCutter words([&](const std::string& word) {
    model_.Encode(word, &workspace, ids);
    return ids->size() <= limit;
  });
  const auto put = [&](std::string_view part) { return words.Put(part); };
  const auto add = [&](int32_t id) {
    ids->push_back(id);
    return ids->size() <= limit;
  };
  for (const TextPiece& piece : raw_.Cut(text)) {
    const char* const begin = text.data() + piece.begin;
    const char* const end = text.data() + piece.end;
    if (piece.id >= 0) {
      if (!add(piece.id)) return;
    } else if (normalized_.empty()) {
      if (!charsmap_.Run(begin, end, put) || !words.Finish()) return;
    } else {
      const std::string clean = charsmap_.Normalize(std::string_view(begin, piece.end - piece.begin));
      for (const TextPiece& part : normalized_.Cut(clean)) {
        const std::string_view bytes = std::string_view(clean).substr(part.begin, part.end - part.begin);
        if (part.id >= 0 ? !add(part.id) : !words.Put(bytes) || !words.Finish()) return;
      }
    }
  }
}

Encoding T5Tokenizer::Encode(const std::string& text, int64_t max_tokens) const {
  Encoding encoding;
  const size_t room = static_cast<size_t>(std::max<int64_t>(max_tokens, 0));
  const size_t limit = room > 0 ? room - 1 : 0;
  Append(formats::IsValidUtf8(text) ? text : RepairUtf8(text), limit, &encoding.ids);
  encoding.truncated = encoding.ids.size() > limit || room == 0;
  encoding.ids.resize(std::min(encoding.ids.size(), limit));
  if (room > 0) encoding.ids.push_back(eos_);
  return encoding;
}

Encoding T5Tokenizer::EncodePair(const std::string& first, const std::string& second, int64_t max_tokens) const {
  constexpr size_t kAround = 2;  // </s> behind each
  const size_t room = static_cast<size_t>(std::max<int64_t>(max_tokens, 0));
  std::vector<int32_t> a = EncodePiece(first), b = EncodePiece(second);
  const auto [keep_a, keep_b] = LongestFirst(a.size(), b.size(), room > kAround ? room - kAround : 0);
  Encoding encoding;
  encoding.truncated = keep_a < a.size() || keep_b < b.size() || room < kAround;
  a.resize(keep_a);
  b.resize(keep_b);
  encoding.ids = std::move(a);
  encoding.ids.push_back(eos_);
  encoding.ids.insert(encoding.ids.end(), b.begin(), b.end());
  encoding.ids.push_back(eos_);
  encoding.ids.resize(std::min(encoding.ids.size(), room));
  return encoding;
}

std::vector<int32_t> T5Tokenizer::EncodePiece(const std::string& text) const {
  std::vector<int32_t> ids;
  Append(formats::IsValidUtf8(text) ? text : RepairUtf8(text), std::numeric_limits<size_t>::max(), &ids);
  return ids;
}

std::string T5Tokenizer::Decode(absl::Span<const int32_t> ids) const {
  std::string text;
  bool first = true;
  for (const int32_t id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= tokens_.size() || tokens_[static_cast<size_t>(id)].special) continue;
    std::string_view rest = tokens_[static_cast<size_t>(id)].text;
    while (!rest.empty()) {
      const size_t mark = std::min(rest.find(kMeta), rest.size());
      text.append(rest.substr(0, mark));
      if (mark == rest.size()) break;
      // A mark begins a word, so the first token's is no space.
      if (!first) text.push_back(' ');
      rest.remove_prefix(mark + kMeta.size());
    }
    first = false;
  }
  return clean_up_spaces_ ? CleanUpSpaces(std::move(text)) : text;
}

}  // namespace tenon::engine
