// Cross entropy of tokens, and its gradient in the place of the logits.
#pragma once

#include <cstdint>

namespace tenon::engine::kernels {

// For each row of logits [rows, columns]: loss = -log(softmax(logits)[target]), and whether no logit is larger than the
// target's.
struct TokenLoss {
  int64_t columns = 0;
  const int64_t* targets = nullptr;  // [rows], each from 0 to columns - 1
  float* logits = nullptr;
  float* loss = nullptr;  // [rows]
  bool* right = nullptr;  // [rows]
  bool gradient = false;  // the logits become softmax(logits) less 1 at the target
};
void RunTokenLoss(const TokenLoss& tokens, int64_t begin, int64_t end);

}  // namespace tenon::engine::kernels
