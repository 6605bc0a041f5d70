#include "worker/engine/text/byte_pairs.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"
#include "worker/engine/text/byte_level_alphabet.h"

namespace tenon::engine {
namespace {

using Workspace = BytePairs::Workspace;

uint64_t Key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// For a heap with the merge on top that comes first in the list; of equal ones, the leftmost.
bool ComesLater(const Workspace::Candidate& a, const Workspace::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
}

absl::Status Invalid(const std::string& what, const std::string& key) {
  return TenonError(Reason::kBaseInvalid, what, key);
}

}  // namespace

absl::StatusOr<BytePairs> BytePairs::Create(BytePairVocabulary vocabulary) {
  BytePairs model;
  model.ids_ = std::move(vocabulary.ids);
  model.fuse_unknown_ = vocabulary.fuse_unk;
  model.ignore_merges_ = vocabulary.ignore_merges;
  if (!vocabulary.unk_token.empty()) {
    model.unknown_ = model.Find(vocabulary.unk_token);
    if (model.unknown_ < 0) {
      return Invalid(
          absl::StrCat("the unknown token ", formats::Shown(vocabulary.unk_token), " is not in the vocabulary"),
          "unk_token");
    }
  }
  for (size_t byte = 0; byte < model.bytes_.size(); ++byte) model.bytes_[byte] = model.Find(ByteCharacters()[byte]);
  if (vocabulary.merges.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return Invalid("there are too many merges", "merges");
  }
  model.merges_.reserve(vocabulary.merges.size());
  for (size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
    const auto& [left, right] = vocabulary.merges[rank];
    const std::string joined = left + right;
    for (const std::string* piece : {&left, &right, &joined}) {
      if (model.Find(*piece) >= 0) continue;
      return Invalid(
          absl::StrCat("merge ", rank + 1, " needs ", formats::Shown(*piece), ", which is not in the vocabulary"),
          "merges");
    }
    // Of equal ones the last one counts, as in the reference.
    model.merges_[Key(model.Find(left), model.Find(right))] = {static_cast<int32_t>(rank), model.Find(joined)};
  }
  return model;
}

int32_t BytePairs::Find(const std::string& piece) const {
  const auto it = ids_.find(piece);
  return it == ids_.end() ? -1 : it->second;
}

const BytePairs::Merge* BytePairs::FindMerge(int32_t left, int32_t right) const {
  const auto it = merges_.find(Key(left, right));
  return it == merges_.end() ? nullptr : &it->second;
}

void BytePairs::FillSymbols(std::string_view word, Workspace* workspace) const {
  auto& symbols = workspace->symbols;
  symbols.clear();
  bool after_unknown = false;
  for (const char byte : word) {
    int32_t id = bytes_[static_cast<unsigned char>(byte)];
    const bool unknown = id < 0;
    if (unknown) {
      if (unknown_ < 0 || (fuse_unknown_ && after_unknown)) continue;
      id = unknown_;
    }
    after_unknown = unknown;
    const auto place = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, place - 1, place + 1});
  }
  if (!symbols.empty()) symbols.back().after = -1;
}

void BytePairs::Offer(int32_t at, Workspace* workspace) const {
  const auto& symbol = workspace->symbols[static_cast<size_t>(at)];
  if (symbol.after < 0) return;
  const Merge* merge = FindMerge(symbol.id, workspace->symbols[static_cast<size_t>(symbol.after)].id);
  if (merge == nullptr) return;
  workspace->heap.push_back({merge->rank, at, merge->id});
  std::push_heap(workspace->heap.begin(), workspace->heap.end(), ComesLater);
}

void BytePairs::Encode(std::string_view word, Workspace* workspace, std::vector<int32_t>* ids) const {
  if (ignore_merges_) {
    const int32_t whole = Find(ToByteCharacters(word));
    if (whole >= 0) return ids->push_back(whole);
  }
  FillSymbols(word, workspace);
  auto& symbols = workspace->symbols;
  auto& heap = workspace->heap;
  heap.clear();
  for (size_t at = 0; at + 1 < symbols.size(); ++at) Offer(static_cast<int32_t>(at), workspace);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), ComesLater);
    const Workspace::Candidate best = heap.back();
    heap.pop_back();
    auto& left = symbols[static_cast<size_t>(best.at)];
    if (left.gone || left.after < 0) continue;
    auto& right = symbols[static_cast<size_t>(left.after)];
    // One of the two may have become another since they were offered.
    const Merge* merge = FindMerge(left.id, right.id);
    if (merge == nullptr || merge->id != best.id) continue;
    left.id = best.id;
    left.after = right.after;
    right.gone = true;
    if (right.after >= 0) symbols[static_cast<size_t>(right.after)].before = best.at;
    if (left.before >= 0) Offer(left.before, workspace);
    Offer(best.at, workspace);
  }
  for (const auto& symbol : symbols) {
    if (!symbol.gone) ids->push_back(symbol.id);
  }
}

}  // namespace tenon::engine
