// A LoRA's part of a linear layer on some lines of a batch, on the CPU (Hu et al., 2021). Free of torch and of threads.
#pragma once

#include <cstdint>

namespace tenon::engine {

// Factors of one layer: `down` [rank, in] and `up` [rank, out], both without gaps, the scale within them. Any rank;
// `in` and `out` are multiples of 16.
struct LowRankFactors {
  const float* down = nullptr;
  const float* up = nullptr;
  int64_t rank = 0, in = 0, out = 0;
};

// y += (x down^T) up for `lines` lines; x [lines, in], y [lines, out], strides in floats from line to line. A segment
// of a mixed batch is few lines: a library's two products for each spend more on their calls than on the sums. A line's
// result depends on that line alone.
void AddLowRank(const LowRankFactors& factors, const float* x, int64_t x_stride, int64_t lines, float* y,
                int64_t y_stride);

}  // namespace tenon::engine
