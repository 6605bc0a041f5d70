// Byte strings by their beginnings: which of many pieces does a text begin with?
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tenon::engine {

// A trie in one array (a double array, https://doi.org/10.1109/32.31365): the child of a node for byte c lies at the
// node's base ^ c, so that each step of a search reads one place in memory. Immutable; safe from any thread.
class PieceTrie {
 public:
  PieceTrie() = default;
  // Values are at least 0. Of equal pieces the last one counts; empty ones are left out.
  explicit PieceTrie(std::vector<std::pair<std::string, int32_t>> pieces);

  // The value of a whole piece; -1 when there is none.
  int32_t Find(std::string_view piece) const;
  // Calls visit(bytes, value) for each piece that [p, end) begins with, shortest first. As many steps as the longest
  // piece has bytes, at most.
  template <typename Visit>
  void Prefixes(const char* p, const char* end, Visit visit) const;

 private:
  struct Node {
    uint32_t base = 0;   // where its children are; no two nodes have the same, and 0 is no node's
    int32_t value = -1;  // of the piece that ends here
    uint8_t byte = 0;    // that leads here from its parent
  };
  class Builder;

  std::vector<Node> nodes_;  // blocks of 256; the root is the first
};

template <typename Visit>
void PieceTrie::Prefixes(const char* p, const char* end, Visit visit) const {
  if (nodes_.empty()) return;
  uint32_t base = nodes_[0].base;
  for (const char* at = p; at != end; ++at) {
    const auto byte = static_cast<uint8_t>(*at);
    const Node& node = nodes_[base ^ byte];
    if (base == 0 || node.byte != byte) return;
    if (node.value >= 0) visit(static_cast<size_t>(at - p + 1), node.value);
    base = node.base;
  }
}

}  // namespace tenon::engine
