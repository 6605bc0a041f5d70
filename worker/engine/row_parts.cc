#include "worker/engine/row_parts.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace tenon::engine {
namespace {

// Tokens of a part: chosen so that MiniLM's widest states (1536 floats a token) about fill 2 MB of cache; other sizes
// are not measured yet.
constexpr int64_t kPartTokens = 384;
// Below this a thread's own part does not fill its products.
constexpr int64_t kLeastTokens = 64;

RowPart InGroupOrder(absl::Span<const RowSize> rows) {
  std::map<const void*, size_t> seen;
  std::vector<size_t> rank(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) rank[i] = seen.emplace(rows[i].group, seen.size()).first->second;
  RowPart order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rank[a] < rank[b]; });
  return order;
}

}  // namespace

std::vector<RowPart> SplitRows(absl::Span<const RowSize> rows, int threads) {
  RowPart all(rows.size());
  std::iota(all.begin(), all.end(), 0);
  int64_t tokens = 0, longest = 0;
  for (const RowSize& row : rows) {
    tokens += row.tokens;
    longest = std::max(longest, row.tokens);
  }
  const int64_t rounds = std::max<int64_t>(1, (tokens + kPartTokens * threads / 2) / (kPartTokens * threads));
  const int64_t count = rounds * threads;
  // A row longer than its thread's share leaves the others idle.
  if (threads < 2 || tokens < kLeastTokens * threads || longest * threads > tokens * 5 / 4) return {all};

  std::vector<RowPart> parts;
  int64_t taken = 0;
  for (const size_t row : InGroupOrder(rows)) {
    // A row belongs where its middle falls.
    const int64_t share = std::min(count - 1, (taken + rows[row].tokens / 2) * count / tokens);
    if (parts.empty() || share >= static_cast<int64_t>(parts.size())) parts.emplace_back();
    parts.back().push_back(row);
    taken += rows[row].tokens;
  }
  return parts;
}

}  // namespace tenon::engine
