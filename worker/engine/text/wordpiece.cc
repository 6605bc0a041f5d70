#include "worker/engine/text/wordpiece.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/formats/status.h"

namespace tenon::engine {

absl::StatusOr<WordPiece> WordPiece::Create(WordPieceVocabulary vocabulary) {
  WordPiece model;
  const auto unknown = vocabulary.ids.find(vocabulary.unk_token);
  if (unknown == vocabulary.ids.end()) {
    return TenonError(Reason::kBaseInvalid,
                      absl::StrCat("the unknown token \"", vocabulary.unk_token, "\" is not in the vocabulary"),
                      "unk_token");
  }
  model.unknown_ = unknown->second;
  model.max_characters_ = vocabulary.max_characters;
  const std::string& prefix = vocabulary.continuing_prefix;
  for (const auto& [token, id] : vocabulary.ids) {
    model.size_ = std::max<int64_t>(model.size_, int64_t{id} + 1);
    model.longest_first_ = std::max(model.longest_first_, token.size());
    if (token.size() <= prefix.size() || token.compare(0, prefix.size(), prefix) != 0) continue;
    model.inside_.emplace(token.substr(prefix.size()), id);
    model.longest_inside_ = std::max(model.longest_inside_, token.size() - prefix.size());
  }
  model.first_ = std::move(vocabulary.ids);
  return model;
}

int32_t WordPiece::Find(const std::string& token) const {
  const auto it = first_.find(token);
  return it == first_.end() ? -1 : it->second;
}

void WordPiece::Encode(const std::string& word, int64_t characters, std::vector<int32_t>* ids,
                       std::vector<size_t>* ends) const {
  const size_t before = ids->size(), ends_before = ends == nullptr ? 0 : ends->size();
  const auto unknown = [&] {
    ids->resize(before);
    ids->push_back(unknown_);
    if (ends == nullptr) return;
    ends->resize(ends_before);
    ends->push_back(word.size());
  };
  if (characters > max_characters_) return unknown();
  size_t start = 0;
  while (start < word.size()) {
    const auto& pieces = start == 0 ? first_ : inside_;
    size_t end = std::min(word.size(), start + (start == 0 ? longest_first_ : longest_inside_));
    int32_t found = -1;
    for (; end > start; --end) {
      // Only whole characters: not where the next byte goes on with one.
      if (end < word.size() && (static_cast<unsigned char>(word[end]) & 0xC0) == 0x80) continue;
      const auto it = pieces.find(absl::string_view(word.data() + start, end - start));
      if (it == pieces.end()) continue;
      found = it->second;
      break;
    }
    if (found < 0) return unknown();
    ids->push_back(found);
    if (ends != nullptr) ends->push_back(end);
    start = end;
  }
}

}  // namespace tenon::engine
