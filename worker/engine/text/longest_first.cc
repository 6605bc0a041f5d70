#include "worker/engine/text/longest_first.h"

#include <algorithm>

namespace tenon::engine {

std::pair<size_t, size_t> LongestFirst(size_t first, size_t second, size_t room) {
  if (first + second <= room) return {first, second};
  const bool swapped = first > second;
  const size_t shorter = std::min(first, second);
  // All that is cut comes from the longer one, unless both are to be more than half.
  const size_t longer = shorter > room ? shorter : std::max(shorter, room - shorter);
  std::pair<size_t, size_t> kept{shorter, longer};
  if (shorter + longer > room) kept = {room / 2, room / 2 + room % 2};
  if (swapped) std::swap(kept.first, kept.second);
  return kept;
}

}  // namespace tenon::engine
