// How a batch's rows are shared out between threads. Pure; free of torch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace tenon::engine {

struct RowSize {
  int64_t tokens = 0;
  const void* group = nullptr;  // rows of one group (an adapter) are better off together
};

// Places of the rows that one thread takes through the whole network.
using RowPart = std::vector<size_t>;

// Parts of about equally many tokens, their number a multiple of `threads`: rows need nothing of each other, so a
// thread that takes its part through every layer waits for nobody, where a product shared between threads waits at each
// layer for the slowest. A part's states fit a core's cache. Groups stay together, in the order in which they first
// appear, and are cut where a part is full. One part with all rows in the order given when there is too little work to
// share: then threads share each product instead.
std::vector<RowPart> SplitRows(absl::Span<const RowSize> rows, int threads);

}  // namespace tenon::engine
