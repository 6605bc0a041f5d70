#include "worker/engine/text/added_tokens.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <utility>

#include "worker/engine/text/unicode.h"

namespace tenon::engine {
namespace {

// Start of the last character of text[0, end).
size_t LastCharacter(const std::string& text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && end - at < 4 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

CodePoint Read(const std::string& text, size_t at) {
  const char* p = text.data() + at;
  return ReadUtf8(&p, text.data() + text.size());
}

// `\w` of regular expressions over Unicode.
bool IsWord(CodePoint c) {
  return u_isUAlphabetic(c) || (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL);
}

bool StandsAlone(const std::string& text, size_t begin, size_t end) {
  if (begin > 0 && IsWord(Read(text, LastCharacter(text, begin)))) return false;
  return end >= text.size() || !IsWord(Read(text, end));
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  tokens_.erase(std::remove_if(tokens_.begin(), tokens_.end(), [](const AddedToken& t) { return t.content.empty(); }),
                tokens_.end());
  std::vector<std::pair<std::string, int32_t>> places;
  for (size_t i = tokens_.size(); i-- > 0;) {
    first_bytes_[static_cast<unsigned char>(tokens_[i].content[0])] = true;
    places.emplace_back(tokens_[i].content, static_cast<int32_t>(i));
  }
  trie_ = PieceTrie(std::move(places));
}

const AddedToken* AddedTokens::Match(const std::string& text, size_t at) const {
  const AddedToken* longest = nullptr;
  trie_.Prefixes(text.data() + at, text.data() + text.size(),
                 [&](size_t, int32_t place) { longest = &tokens_[static_cast<size_t>(place)]; });
  return longest;
}

std::vector<TextPiece> AddedTokens::Cut(const std::string& text) const {
  std::vector<TextPiece> pieces;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    if (!first_bytes_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const AddedToken* token = Match(text, at);
    if (token == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + token->content.size();
    at = end;
    if (token->single_word && !StandsAlone(text, begin, end)) continue;
    if (token->lstrip) {
      while (begin > done && IsWhitespace(Read(text, LastCharacter(text, begin)))) begin = LastCharacter(text, begin);
    }
    if (token->rstrip) {
      const char* p = text.data() + end;
      const char* const stop = text.data() + text.size();
      for (const char* next = p; next != stop && IsWhitespace(ReadUtf8(&next, stop));) p = next;
      end = static_cast<size_t>(p - text.data());
    }
    if (done < begin) pieces.push_back({-1, done, begin});
    pieces.push_back({token->id, begin, end});
    done = end;
    at = std::max(at, end);
  }
  if (done < text.size()) pieces.push_back({-1, done, text.size()});
  return pieces;
}

}  // namespace tenon::engine
