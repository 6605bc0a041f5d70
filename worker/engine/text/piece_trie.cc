#include "worker/engine/text/piece_trie.h"

#include <algorithm>

namespace tenon::engine {

PieceTrie::PieceTrie(std::vector<std::pair<std::string, int32_t>> pieces) {
  std::stable_sort(pieces.begin(), pieces.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  nodes_.emplace_back();
  labels_.push_back('\0');
  // Pieces [begin, end) pass through a node, which is `depth` bytes from the root; level by level, so that the children
  // of each node come out side by side.
  struct Range {
    uint32_t node;
    size_t begin, end;
  };
  std::vector<Range> level = {{0, 0, pieces.size()}};
  for (size_t depth = 0; !level.empty(); ++depth) {
    std::vector<Range> next;
    for (auto [node, begin, end] : level) {
      while (begin < end && pieces[begin].first.size() == depth) {
        if (depth > 0) nodes_[node].value = pieces[begin].second;
        ++begin;
      }
      nodes_[node].children = static_cast<uint32_t>(nodes_.size());
      while (begin < end) {
        const char byte = pieces[begin].first[depth];
        size_t stop = begin + 1;
        while (stop < end && pieces[stop].first[depth] == byte) ++stop;
        next.push_back({static_cast<uint32_t>(nodes_.size()), begin, stop});
        nodes_.emplace_back();
        labels_.push_back(byte);
        ++nodes_[node].count;
        begin = stop;
      }
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
