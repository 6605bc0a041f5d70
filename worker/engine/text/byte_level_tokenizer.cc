#include "worker/engine/text/byte_level_tokenizer.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <utility>

#include "common/formats/status.h"
#include "common/formats/utf8.h"
#include "worker/engine/text/byte_level_alphabet.h"
#include "worker/engine/text/byte_level_words.h"
#include "worker/engine/text/clean_up.h"
#include "worker/engine/text/longest_first.h"
#include "worker/engine/text/unicode.h"

namespace tenon::engine {
namespace {

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

size_t Room(int64_t max_tokens) { return static_cast<size_t>(std::max<int64_t>(max_tokens, 0)); }

// Appends the parts, as far as there is room.
void Join(std::initializer_list<const std::vector<int32_t>*> parts, size_t room, Encoding* encoding) {
  for (const auto* part : parts) {
    const size_t count = std::min(part->size(), room - encoding->ids.size());
    encoding->truncated = encoding->truncated || count < part->size();
    encoding->ids.insert(encoding->ids.end(), part->begin(), part->begin() + static_cast<std::ptrdiff_t>(count));
  }
}

void Cut(size_t length, std::vector<int32_t>* ids, bool* cut) {
  if (ids->size() <= length) return;
  ids->resize(length);
  *cut = true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<const ByteLevelTokenizer>> ByteLevelTokenizer::Create(ByteLevelSpec spec) {
  ASSIGN_OR_RETURN(BytePairs model, BytePairs::Create(std::move(spec.vocabulary)));
  return std::unique_ptr<const ByteLevelTokenizer>(new ByteLevelTokenizer(std::move(model), std::move(spec)));
}

ByteLevelTokenizer::ByteLevelTokenizer(BytePairs model, ByteLevelSpec spec)
    : model_(std::move(model)),
      around_(std::move(spec.around)),
      add_prefix_space_(spec.add_prefix_space),
      clean_up_spaces_(spec.clean_up_spaces) {
  const auto put = [&](int32_t id, const std::string& text, bool special) {
    // What has other characters, as added tokens may, stands for itself.
    tokens_[id] = {FromByteCharacters(text).value_or(text), special};
    size_ = std::max<int64_t>(size_, int64_t{id} + 1);
  };
  for (const auto& [piece, id] : model_.ids()) put(id, piece, false);
  std::vector<AddedToken> first, second;
  for (AddedToken& token : spec.added_tokens) {
    put(token.id, token.content, token.special);
    (token.normalized ? second : first).push_back(std::move(token));
  }
  first_ = AddedTokens(std::move(first));
  second_ = AddedTokens(std::move(second));
}

bool ByteLevelTokenizer::AppendWords(std::string_view text, size_t limit, BytePairs::Workspace* workspace,
                                     std::vector<int32_t>* ids) const {
  std::string spaced;
  if (add_prefix_space_ && text.front() != ' ') {
    spaced.append(" ").append(text);
    text = spaced;
  }
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p != end;) {
    const size_t bytes = WordBytes(p, end);
    model_.Encode(std::string_view(p, bytes), workspace, ids);
    if (ids->size() > limit) return false;
    p += bytes;
  }
  return true;
}

void ByteLevelTokenizer::Append(const std::string& text, size_t limit, std::vector<int32_t>* ids) const {
  if (!formats::IsValidUtf8(text)) return Append(RepairUtf8(text), limit, ids);
  BytePairs::Workspace workspace;
  const auto add = [&](int32_t id) {
    ids->push_back(id);
    return ids->size() <= limit;
  };
  for (const TextPiece& piece : first_.Cut(text)) {
    const std::string_view bytes = std::string_view(text).substr(piece.begin, piece.end - piece.begin);
    if (piece.id >= 0) {
      if (!add(piece.id)) return;
    } else if (second_.empty()) {
      if (!AppendWords(bytes, limit, &workspace, ids)) return;
    } else {
      const std::string rest(bytes);
      for (const TextPiece& part : second_.Cut(rest)) {
        const std::string_view words = std::string_view(rest).substr(part.begin, part.end - part.begin);
        if (part.id >= 0 ? !add(part.id) : !AppendWords(words, limit, &workspace, ids)) return;
      }
    }
  }
}

Encoding ByteLevelTokenizer::Encode(const std::string& text, int64_t max_tokens) const {
  const size_t room = Room(max_tokens);
  const size_t around = around_.before.size() + around_.after.size();
  const size_t limit = room > around ? room - around : 0;
  std::vector<int32_t> ids;
  Append(text, limit, &ids);
  Encoding encoding;
  Cut(limit, &ids, &encoding.truncated);
  Join({&around_.before, &ids, &around_.after}, room, &encoding);
  return encoding;
}

Encoding ByteLevelTokenizer::EncodePair(const std::string& first, const std::string& second, int64_t max_tokens) const {
  const size_t room = Room(max_tokens);
  const size_t around = around_.before_pair.size() + around_.between.size() + around_.after_pair.size();
  // Whole: which one is the longer decides where an odd token goes.
  std::vector<int32_t> a = EncodePiece(first), b = EncodePiece(second);
  Encoding encoding;
  const auto [keep_a, keep_b] = LongestFirst(a.size(), b.size(), room > around ? room - around : 0);
  Cut(keep_a, &a, &encoding.truncated);
  Cut(keep_b, &b, &encoding.truncated);
  Join({&around_.before_pair, &a, &around_.between, &b, &around_.after_pair}, room, &encoding);
  return encoding;
}

std::string ByteLevelTokenizer::separator() const {
  return around_.after.empty() ? "" : tokens_.at(around_.after.back()).bytes;
}

std::vector<int32_t> ByteLevelTokenizer::EncodePiece(const std::string& text) const {
  std::vector<int32_t> ids;
  Append(text, kNoLimit, &ids);
  return ids;
}

std::string ByteLevelTokenizer::Decode(absl::Span<const int32_t> ids) const {
  std::string bytes;
  for (const int32_t id : ids) {
    const auto token = tokens_.find(id);
    if (token != tokens_.end() && !token->second.special) bytes += token->second.bytes;
  }
  std::string text = TextOfBytes(bytes);
  return clean_up_spaces_ ? CleanUpSpaces(std::move(text)) : text;
}

}  // namespace tenon::engine
