// Multi-head attention (Vaswani et al., 2017) of ragged rows, to themselves or to other rows, one row and head at a
// time. Probabilities are never stored: the backward pass makes them again from each query's log of the sum (Dao et
// al., FlashAttention, 2022), and the dropout mask from its key.
#pragma once

#include <cstdint>

#include "worker/engine/kernels/dropout.h"

namespace tenon::engine::kernels {

// How many numbers behind the last distance of `Attention::distances` are read, whatever they are.
constexpr int64_t kSpareDistances = 15;

// What both passes read. Query t is at q + t * stride, key t at k + t * key_stride and its value likewise, all heads
// side by side.
struct Attention {
  int64_t rows = 0, heads = 0, head_size = 0;
  const int64_t* offsets = nullptr;      // [rows + 1]: first query of each row
  const int64_t* key_offsets = nullptr;  // [rows + 1]: the same of keys; nullptr: rows attend to themselves
  int64_t longest = 0;                   // tokens of the longest row, of queries or of keys
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  int64_t stride = 0, key_stride = 0;
  const float* q_bias = nullptr;  // [heads * head_size], added to what is read; all three or none
  const float* k_bias = nullptr;
  const float* v_bias = nullptr;
  float scale = 1;  // of the scores
  // Added to scaled scores by how far behind the query the key stands: head h's number for distance d is at
  // distances + h * distance_stride + d, for |d| < longest. nullptr: nothing is added.
  const float* distances = nullptr;
  int64_t distance_stride = 0;
  bool causal = false;  // a query sees the keys up to its own place alone
  DropoutMask mask;     // of the probabilities
};

// Pieces of work: every row and head is one. Any of them may run at the same time as any other.
inline int64_t AttentionPieces(const Attention& attention) { return attention.rows * attention.heads; }

// context [queries, heads * head_size]; log_sum [queries, heads].
void RunAttention(const Attention& attention, float* context, float* log_sum, int64_t begin, int64_t end);

// Gradients at q_grad + t * stride and so on, from that of the context.
struct AttentionGradient {
  const float* context_grad = nullptr;  // [queries, heads * head_size]
  const float* log_sum = nullptr;
  float* q_grad = nullptr;
  float* k_grad = nullptr;
  float* v_grad = nullptr;
  // Of each piece, a line of `distance_stride` zeros to which the gradient by its distances' numbers is added, number d
  // at `zero` + d; nullptr: not asked for. Up to kSpareDistances numbers behind the last distance get zeros.
  float* distances_grad = nullptr;
  int64_t zero = 0;
};
void RunAttentionGradient(const Attention& attention, const AttentionGradient& gradient, int64_t begin, int64_t end);

}  // namespace tenon::engine::kernels
