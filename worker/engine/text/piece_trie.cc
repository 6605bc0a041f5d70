#include "worker/engine/text/piece_trie.h"

#include <algorithm>

namespace tenon::engine {
namespace {

constexpr uint32_t kBlock = 256;

}  // namespace

// Puts nodes where there is room. Children of one node share a block, since base ^ c differs in the low byte alone.
class PieceTrie::Builder {
 public:
  explicit Builder(std::vector<Node>* nodes) : nodes_(*nodes) {
    AddBlock();
    used_[0] = true;   // the root's
    taken_[0] = true;  // stands for no children
  }

  // A base whose places for these bytes, which are sorted, were free; they are taken now.
  uint32_t Place(const std::vector<uint8_t>& bytes) {
    for (const uint32_t block : open_) {
      const uint32_t base = Try(block, bytes);
      if (base != 0) return Take(base, bytes);
    }
    // The oldest block stays as full as it is: else a search through ever more blocks that are nearly full.
    if (open_.size() == kOpenBlocks) open_.erase(open_.begin());
    AddBlock();
    return Take(Try(open_.back(), bytes), bytes);
  }

 private:
  static constexpr size_t kOpenBlocks = 4;

  void AddBlock() {
    open_.push_back(static_cast<uint32_t>(free_.size()));
    free_.push_back(kBlock);
    nodes_.resize(nodes_.size() + kBlock);
    used_.resize(nodes_.size());
    taken_.resize(nodes_.size());
  }
  // A base in this block, or 0.
  uint32_t Try(uint32_t block, const std::vector<uint8_t>& bytes) const {
    if (free_[block] < bytes.size()) return 0;
    for (uint32_t base = block * kBlock; base < (block + 1) * kBlock; ++base) {
      const auto free = [&](uint8_t byte) { return !used_[base ^ byte]; };
      if (!taken_[base] && std::all_of(bytes.begin(), bytes.end(), free)) return base;
    }
    return 0;
  }
  uint32_t Take(uint32_t base, const std::vector<uint8_t>& bytes) {
    taken_[base] = true;
    for (const uint8_t byte : bytes) {
      used_[base ^ byte] = true;
      nodes_[base ^ byte].byte = byte;
    }
    free_[base / kBlock] -= static_cast<uint32_t>(bytes.size());
    return base;
  }

  std::vector<Node>& nodes_;
  std::vector<bool> used_;      // places
  std::vector<bool> taken_;     // bases, by place
  std::vector<uint32_t> free_;  // places, by block
  std::vector<uint32_t> open_;  // blocks where room is looked for
};

PieceTrie::PieceTrie(std::vector<std::pair<std::string, int32_t>> pieces) {
  std::stable_sort(pieces.begin(), pieces.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Builder builder(&nodes_);
  // Pieces [begin, end) pass through a node that is `depth` bytes from the root.
  struct Range {
    uint32_t node;
    size_t begin, end;
  };
  std::vector<Range> level = {{0, 0, pieces.size()}};
  for (size_t depth = 0; !level.empty(); ++depth) {
    std::vector<Range> next;
    for (auto [node, begin, end] : level) {
      for (; begin < end && pieces[begin].first.size() == depth; ++begin) {
        if (depth > 0) nodes_[node].value = pieces[begin].second;
      }
      if (begin == end) continue;
      std::vector<uint8_t> bytes;
      const size_t first = next.size();
      for (size_t i = begin; i < end; ++i) {
        const auto byte = static_cast<uint8_t>(pieces[i].first[depth]);
        if (bytes.empty() || byte != bytes.back()) {
          bytes.push_back(byte);
          next.push_back({0, i, i});
        }
        next.back().end = i + 1;
      }
      const uint32_t base = builder.Place(bytes);
      nodes_[node].base = base;
      for (size_t i = 0; i < bytes.size(); ++i) next[first + i].node = base ^ bytes[i];
    }
    level = std::move(next);
  }
}

int32_t PieceTrie::Find(std::string_view piece) const {
  int32_t found = -1;
  Prefixes(piece.data(), piece.data() + piece.size(), [&](size_t bytes, int32_t value) {
    if (bytes == piece.size()) found = value;
  });
  return found;
}

}  // namespace tenon::engine
