// What a decoding step's attention reads: the tokens that lines have written, and their sources. Engine-internal, torch
// inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"

namespace tenon::engine {

class RelativeBias;

// Keys and values of a source in every layer of the decoder, computed once when it joins and shared by all lines that
// read it.
struct SourceStates {
  int64_t tokens = 0;
  // Of each layer, [tokens, heads * d_kv]; for our own kernels the keys of each head lie transposed:
  // [heads, TurnedSize].
  std::vector<at::Tensor> keys, values;
};

// A line's own part of attention; copies share what is large.
struct StepLine {
  std::vector<int32_t> slots;                  // of its tokens, oldest first
  std::shared_ptr<const SourceStates> source;  // nullptr in a decoder that is alone: its prompt is among its tokens
};

struct AttentionSizes {
  int64_t layers = 0, heads = 0, head_size = 0;
};

// Scores are not scaled: queries are, or their weights.
class StepAttention {
 public:
  virtual ~StepAttention() = default;

  // Keeps keys and values of layer `layer` of tokens that lines begin with, each in its slot:
  // qkv [tokens, 3 * heads * head_size]. `slots`: how many there are in all, which only grows, here and below.
  virtual void Keep(int64_t layer, absl::Span<const int32_t> places, const at::Tensor& qkv, int64_t slots) = 0;

  // A new step: each line's last slot is for the token that asks.
  virtual void Begin(absl::Span<const StepLine* const> lines, int64_t slots) = 0;
  // Keeps the new tokens' keys and values of layer `layer`, then attends to each line's tokens:
  // qkv [lines, 3 * heads * head_size] -> [lines, heads * head_size].
  virtual at::Tensor Tokens(int64_t layer, const at::Tensor& qkv) = 0;
  // Attends to each line's source, where there are sources: q [lines, heads * head_size] -> the same.
  virtual at::Tensor Source(int64_t layer, const at::Tensor& q) = 0;
};

// By our own kernels: states are fp32 on the CPU. `bias` of the distances between a line's tokens, which must outlive
// it; nullptr: none.
std::unique_ptr<StepAttention> MakeKernelAttention(const AttentionSizes& sizes, const RelativeBias* bias);
// By torch's operators, on any device and in any precision.
std::unique_ptr<StepAttention> MakePlainAttention(const AttentionSizes& sizes, const RelativeBias* bias,
                                                  const at::TensorOptions& options);

}  // namespace tenon::engine
