#include "worker/engine/evaluate/lcs.h"

#include <algorithm>
#include <bit>

namespace tenon::engine {
namespace {

// The table of one sequence, its rows, against a growing other one, its columns.
class Columns {
 public:
  explicit Columns(const TokenIds& rows) : words_((rows.size() + 63) / 64), flat_(words_, ~uint64_t{0}) {
    const int32_t largest = rows.empty() ? -1 : *std::max_element(rows.begin(), rows.end());
    places_.assign(static_cast<size_t>(largest + 1), -1);
    for (size_t i = 0; i < rows.size(); ++i) {
      int32_t& place = places_[static_cast<size_t>(rows[i])];
      if (place < 0) {
        place = static_cast<int32_t>(masks_.size() / words_);
        masks_.resize(masks_.size() + words_);
      }
      masks_[static_cast<size_t>(place) * words_ + i / 64] |= uint64_t{1} << (i % 64);
    }
  }

  // The next column: bit i is 0 where the length in row i + 1 is one more than in row i.
  void Add(int32_t id) {
    if (static_cast<size_t>(id) >= places_.size() || places_[static_cast<size_t>(id)] < 0) return;
    const uint64_t* mask = &masks_[static_cast<size_t>(places_[static_cast<size_t>(id)]) * words_];
    uint64_t carry = 0;
    for (size_t w = 0; w < words_; ++w) {
      const uint64_t flat = flat_[w], hits = flat & mask[w];
      const uint64_t sum = flat + hits, total = sum + carry;
      carry = static_cast<uint64_t>(sum < flat) | static_cast<uint64_t>(total < sum);
      flat_[w] = total | (flat & ~mask[w]);
    }
  }

  const std::vector<uint64_t>& flat() const { return flat_; }

 private:
  const size_t words_;
  std::vector<uint64_t> flat_;
  std::vector<int32_t> places_;  // of an id's mask, by id
  std::vector<uint64_t> masks_;  // rows in which an id stands
};

}  // namespace

int64_t LcsLength(const TokenIds& a, const TokenIds& b) {
  if (a.empty() || b.empty()) return 0;
  Columns columns(a);
  for (const int32_t id : b) columns.Add(id);
  int64_t length = 0;
  for (size_t i = 0; i < a.size(); ++i) length += ((columns.flat()[i / 64] >> (i % 64)) & 1) == 0;
  return length;
}

void MarkLcs(const TokenIds& reference, const TokenIds& candidate, std::vector<bool>* used) {
  if (reference.empty() || candidate.empty()) return;
  Columns columns(reference);
  std::vector<std::vector<uint64_t>> table;
  table.reserve(candidate.size());
  for (const int32_t id : candidate) {
    columns.Add(id);
    table.push_back(columns.flat());
  }
  size_t i = reference.size(), j = candidate.size();
  while (i > 0 && j > 0) {
    if (reference[i - 1] == candidate[j - 1]) {
      (*used)[--i] = true;
      --j;
      continue;
    }
    // Longer without the candidate's token than without the reference's: exactly where the length grows in this row.
    const bool grows = ((table[j - 1][(i - 1) / 64] >> ((i - 1) % 64)) & 1) == 0;
    if (grows) {
      --j;
    } else {
      --i;
    }
  }
}

}  // namespace tenon::engine
