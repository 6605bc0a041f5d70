// Byte strings by their beginnings: which of many pieces does a text begin with?
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tenon::engine {

// A trie whose nodes keep their children side by side, sorted by byte. Immutable; safe from any thread.
class PieceTrie {
 public:
  PieceTrie() = default;
  // Values are at least 0. Of equal pieces the last one counts; empty ones are left out.
  explicit PieceTrie(std::vector<std::pair<std::string, int32_t>> pieces);

  bool empty() const { return nodes_.size() < 2; }
  // The value of a whole piece; -1 when there is none.
  int32_t Find(std::string_view piece) const;
  // Calls visit(bytes, value) for each piece that [p, end) begins with, shortest first. As many steps as the longest
  // piece has bytes, at most.
  template <typename Visit>
  void Prefixes(const char* p, const char* end, Visit visit) const;

 private:
  struct Node {
    uint32_t children = 0;  // the first one
    uint32_t count = 0;
    int32_t value = -1;
  };
  static constexpr uint32_t kNone = 0;  // the root is nobody's child

  uint32_t Child(uint32_t node, char byte) const {
    const Node& parent = nodes_[node];
    if (parent.count == 0) return kNone;
    const char* first = labels_.data() + parent.children;
    const void* found = std::memchr(first, static_cast<unsigned char>(byte), parent.count);
    return found == nullptr ? kNone : parent.children + static_cast<uint32_t>(static_cast<const char*>(found) - first);
  }

  std::vector<Node> nodes_;   // by distance from the root
  std::vector<char> labels_;  // the byte that leads to each node
};

template <typename Visit>
void PieceTrie::Prefixes(const char* p, const char* end, Visit visit) const {
  if (empty()) return;
  uint32_t node = 0;
  for (const char* at = p; at != end; ++at) {
    node = Child(node, *at);
    if (node == kNone) return;
    if (nodes_[node].value >= 0) visit(static_cast<size_t>(at - p + 1), nodes_[node].value);
  }
}

}  // namespace tenon::engine
