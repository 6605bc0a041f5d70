// The draws behind DropoutMask, for kernels that apply them on the way.
#pragma once

#include "worker/engine/kernels/dropout.h"
#include "worker/engine/kernels/vector.h"

namespace tenon::engine::kernels {

// What 32 neighbouring elements are multiplied with: columns 32 * chunk and on of this row.
struct KeepScales {
  Floats low, high;
};

TENON_INLINE KeepScales Draw(const DropoutMask& mask, int64_t row, int64_t chunks, int64_t chunk) {
  typedef uint64_t Words __attribute__((vector_size(64)));
  typedef uint16_t Halves __attribute__((vector_size(32)));
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;
  const uint64_t first = static_cast<uint64_t>((row * chunks + chunk) * 8 + 1);
  Words z = (Words{0, 1, 2, 3, 4, 5, 6, 7} + first) * kGolden + mask.key;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  z ^= z >> 31;
  Halves halves[2];
  std::memcpy(halves, &z, sizeof(z));
  const int32_t threshold = static_cast<int32_t>(mask.threshold);
  const Ints low = __builtin_convertvector(halves[0], Ints), high = __builtin_convertvector(halves[1], Ints);
  const Floats kept = Splat(mask.scale);
  return {low >= threshold ? kept : Floats{}, high >= threshold ? kept : Floats{}};
}

// Calls visit(column, elements from there on, scale of what dropout keeps) for each sixteen columns of a row.
template <typename Visit>
TENON_INLINE void ForColumns(const DropoutMask& mask, int64_t row, int64_t columns, const Visit& visit) {
  const int64_t chunks = DropoutChunks(columns);
  KeepScales keep{Splat(1), Splat(1)};
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    if (mask.active()) keep = Draw(mask, row, chunks, chunk);
    const int64_t column = chunk * kDrawsAtOnce;
    visit(column, columns - column, keep.low);
    if (columns - column > kLanes) visit(column + kLanes, columns - column - kLanes, keep.high);
  }
}

}  // namespace tenon::engine::kernels
