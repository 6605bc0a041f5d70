#include "worker/engine/text/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace tenon::engine {
namespace {

// How much worse than the worst piece an unknown character is.
constexpr double kUnknownPenalty = 10;

// Bytes of the character that begins with this byte of valid UTF-8.
size_t CharacterBytes(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

absl::Status Invalid(size_t id, const std::string& what) {
  return TenonError(Reason::kBaseInvalid, absl::StrCat("piece ", id, " ", what), "vocab");
}

}  // namespace

absl::StatusOr<Unigram> Unigram::Create(const std::vector<UnigramPiece>& pieces, int32_t unknown) {
  if (unknown < 0 || static_cast<size_t>(unknown) >= pieces.size()) {
    return TenonError(Reason::kBaseInvalid, absl::StrCat("the unknown piece ", unknown, " is not in the vocabulary"),
                      "unk_id");
  }
  Unigram model;
  std::vector<std::pair<std::string, int32_t>> entries;
  entries.reserve(pieces.size());
  double worst = std::numeric_limits<double>::infinity();
  for (size_t id = 0; id < pieces.size(); ++id) {
    const UnigramPiece& piece = pieces[id];
    if (piece.text.empty()) return Invalid(id, "is empty");
    if (!formats::IsValidUtf8(piece.text)) return Invalid(id, "is not valid UTF-8");
    if (!std::isfinite(piece.score)) return Invalid(id, "has a score that is not finite");
    entries.emplace_back(piece.text, static_cast<int32_t>(id));
    model.scores_.push_back(piece.score);
    worst = std::min(worst, piece.score);
  }
  model.trie_ = PieceTrie(std::move(entries));
  model.unknown_ = unknown;
  model.unknown_score_ = worst - kUnknownPenalty;
  return model;
}

void Unigram::Encode(std::string_view text, Workspace* workspace, std::vector<int32_t>* ids) const {
  // steps[n]: the best way to the first n bytes, by its last piece. Of equal sums the first one found stays.
  Workspace& steps = *workspace;
  steps.assign(text.size() + 1, Step{});
  const char* const end = text.data() + text.size();
  for (size_t at = 0, next = 0; at < text.size(); at = next) {
    next = std::min(text.size(), at + CharacterBytes(text[at]));
    const double here = steps[at].score;
    const auto offer = [&](size_t to, double score, int32_t id) {
      Step& step = steps[to];
      if (step.id < 0 || score > step.score) step = {score, static_cast<uint32_t>(at), id};
    };
    bool single = false;
    trie_.Prefixes(text.data() + at, end, [&](size_t bytes, int32_t id) {
      offer(at + bytes, here + scores_[static_cast<size_t>(id)], id);
      single = single || at + bytes == next;
    });
    if (!single) offer(next, here + unknown_score_, unknown_);
  }
  const size_t before = ids->size();
  for (size_t stop = text.size(); stop > 0;) {
    size_t begin = steps[stop].begin;
    int32_t id = steps[stop].id;
    if (id == unknown_) {
      while (begin > 0 && steps[begin].id == unknown_) begin = steps[begin].begin;
      const int32_t whole = Find(text.substr(begin, stop - begin));
      if (whole >= 0) id = whole;
    }
    ids->push_back(id);
    stop = begin;
  }
  std::reverse(ids->begin() + static_cast<std::ptrdiff_t>(before), ids->end());
}

}  // namespace tenon::engine
