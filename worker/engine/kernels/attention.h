// Multi-head self-attention (Vaswani et al., 2017) of ragged rows, one row and head at a time. Probabilities are never
// stored: the backward pass makes them again from each query's log of the sum (Dao et al., FlashAttention, 2022), and
// the dropout mask from its key.
#pragma once

#include <cstdint>

#include "worker/engine/kernels/dropout.h"

namespace tenon::engine::kernels {

// What both passes read. Token t's query, key and value are at q + t * stride and so on, all heads side by side.
struct Attention {
  int64_t rows = 0, heads = 0, head_size = 0;
  const int64_t* offsets = nullptr;  // [rows + 1]: first token of each row
  int64_t longest = 0;               // tokens of the longest row
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  int64_t stride = 0;
  const float* q_bias = nullptr;  // [heads * head_size], added to what is read; all three or none
  const float* k_bias = nullptr;
  const float* v_bias = nullptr;
  float scale = 1;   // of the scores
  DropoutMask mask;  // of the probabilities
};

// Pieces of work: every row and head is one. Any of them may run at the same time as any other.
inline int64_t AttentionPieces(const Attention& attention) { return attention.rows * attention.heads; }

// context [tokens, heads * head_size]; log_sum [tokens, heads].
void RunAttention(const Attention& attention, float* context, float* log_sum, int64_t begin, int64_t end);

// Gradients at q_grad + t * stride and so on, from that of the context.
struct AttentionGradient {
  const float* context_grad = nullptr;  // [tokens, heads * head_size]
  const float* log_sum = nullptr;
  float* q_grad = nullptr;
  float* k_grad = nullptr;
  float* v_grad = nullptr;
};
void RunAttentionGradient(const Attention& attention, const AttentionGradient& gradient, int64_t begin, int64_t end);

}  // namespace tenon::engine::kernels
