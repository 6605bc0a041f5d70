// Matrix products of a few hundred elements a side, which libraries are slow at.
#pragma once

#include <cstdint>

#include "worker/engine/kernels/vector.h"

namespace tenon::engine::kernels {

// Rows of C that are made together; with two vectors of columns they fill the registers.
constexpr int64_t kTileRows = 8;

// A as the product reads it: element (i, k) is at[i * row + k * column], so that either may be 1.
struct Strided {
  const float* at;
  int64_t row, column;
};

template <int kVectors>
TENON_INLINE void ProductTile(Strided a, const float* b, int64_t b_stride, float* c, int64_t c_stride, int64_t depth) {
  Floats sum[kTileRows][kVectors] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Floats line[kVectors];
    for (int v = 0; v < kVectors; ++v) line[v] = Load(b + k * b_stride + v * kLanes);
#pragma GCC unroll 8
    for (int64_t i = 0; i < kTileRows; ++i) {
      const float factor = a.at[i * a.row + k * a.column];
      for (int v = 0; v < kVectors; ++v) sum[i][v] += factor * line[v];
    }
  }
  for (int64_t i = 0; i < kTileRows; ++i) {
    for (int v = 0; v < kVectors; ++v) Store(c + i * c_stride + v * kLanes, sum[i][v]);
  }
}

// C = A B: [rows, depth] x [depth, columns]; rows a multiple of 8, columns of 16.
TENON_INLINE void Product(Strided a, const float* b, int64_t b_stride, float* c, int64_t c_stride, int64_t rows,
                          int64_t columns, int64_t depth) {
  for (int64_t j = 0; j < columns;) {
    const int64_t vectors = columns - j >= 2 * kLanes ? 2 : 1;
    for (int64_t i = 0; i < rows; i += kTileRows) {
      const Strided tile{a.at + i * a.row, a.row, a.column};
      if (vectors == 2) {
        ProductTile<2>(tile, b + j, b_stride, c + i * c_stride + j, c_stride, depth);
      } else {
        ProductTile<1>(tile, b + j, b_stride, c + i * c_stride + j, c_stride, depth);
      }
    }
    j += vectors * kLanes;
  }
}

}  // namespace tenon::engine::kernels
