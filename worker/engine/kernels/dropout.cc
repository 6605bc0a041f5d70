#include "worker/engine/kernels/dropout.h"

#include <cmath>

#include "worker/engine/kernels/dropout_draws.h"

namespace tenon::engine::kernels {

DropoutMask::DropoutMask(uint64_t stream_key, double p) : key(stream_key) {
  constexpr double kDraws = 65536;
  threshold = static_cast<uint32_t>(std::lround(p * kDraws));
  scale = threshold < kDraws ? static_cast<float>(1 / (1 - threshold / kDraws)) : 0;
}

TENON_CPU_CLONES
void ApplyDropout(const DropoutMask& mask, const float* x, float* y, int64_t columns, int64_t begin, int64_t end) {
  const int64_t chunks = DropoutChunks(columns);
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const KeepScales keep = Draw(mask, row, chunks, chunk);
      const int64_t column = chunk * kDrawsAtOnce, at = row * columns + column;
      StoreFirst(y + at, LoadFirst(x + at, columns - column) * keep.low, columns - column);
      const int64_t left = columns - column - kLanes;
      if (left > 0) StoreFirst(y + at + kLanes, LoadFirst(x + at + kLanes, left) * keep.high, left);
    }
  }
}

}  // namespace tenon::engine::kernels
