// The loss of a model that writes: cross entropy over a large vocabulary, without keeping the logits. On the CPU.
// Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>

#include <cstdint>

namespace tenon::engine {

// Sum of -log(softmax(x W^T)[target]) over the lines of x [T, hidden], an fp32 scalar. `weight` [vocab, hidden] is
// of any precision, and of fp32 where it asks for a gradient. Gradients are made on the way forward, a few lines'
// logits at a time: they are never there all at once.
at::Tensor TokenLoss(const at::Tensor& x, const at::Tensor& weight, c10::ArrayRef<int64_t> targets);

// The same number, and how many lines rank their target first.
struct TokenScores {
  double loss = 0;
  int64_t right = 0;
};
TokenScores ScoreTokens(const at::Tensor& x, const at::Tensor& weight, c10::ArrayRef<int64_t> targets);
// Of logits [T, vocab] that are there already, on any device.
TokenScores ScoreLogits(const at::Tensor& logits, const at::Tensor& targets);

}  // namespace tenon::engine
