// Which elements dropout keeps: a function of a key and a place alone, so that a backward pass makes the mask again
// instead of storing it, and any number of threads make the same.
#pragma once

#include <cstdint>

namespace tenon::engine::kernels {

// SplitMix64 (Steele, Lea, Flood, 2014) read at any place of its sequence. A draw has 16 bits, so p is rounded to a
// multiple of 2^-16, and the scale is that of the rounded p: the expectation stays exact.
struct DropoutMask {
  uint64_t key = 0;
  uint32_t threshold = 0;  // draws below it are dropped; 0 keeps everything
  float scale = 1;         // of what is kept: 1 / (1 - p)

  DropoutMask() = default;
  // p in [0, 1].
  DropoutMask(uint64_t stream_key, double p);
  bool active() const { return threshold > 0; }
};

// Rows of draws, each for `columns` elements.
constexpr int64_t kDrawsAtOnce = 32;
constexpr int64_t DropoutChunks(int64_t columns) { return (columns + kDrawsAtOnce - 1) / kDrawsAtOnce; }

// y = x, each element dropped or scaled, for rows begin .. end - 1 of [rows, columns]. y may be x.
void ApplyDropout(const DropoutMask& mask, const float* x, float* y, int64_t columns, int64_t begin, int64_t end);

}  // namespace tenon::engine::kernels
