// T5's layers as training runs them, teacher-forced: autograd follows every step. On the CPU fused functions in fp32,
// whatever the weights' precision (docs/adr/0006-training-on-the-cpu.md); elsewhere plain operators on padded rows.
// Weights are frozen, or leaves that ask for gradients: then all of them do, in fp32, and the hooks bring dropout
// alone. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "worker/engine/model/encoder.h"
#include "worker/engine/model/fused_attention.h"
#include "worker/engine/model/t5/model.h"
#include "worker/engine/model/token_loss.h"

namespace tenon::engine {

// Rows of one stack, and what their attention needs besides states.
struct T5Rows {
  PackedBatch batch;
  bool causal = false;
  DistanceTable distances;  // for the fused functions; of frozen weights
  // For the plain operators, where a row takes `longest` places:
  int64_t longest = 0;
  at::Tensor places;   // [R * longest] int64: the token at each place; places behind a row's end repeat its last token
  at::Tensor missing;  // [R, 1, 1, longest] fp32: 0, or -inf behind a row's end
  at::Tensor scores;   // [1, heads, longest, longest] fp32, added to a row's scores: distances, and -inf ahead if
                       // causal; of frozen weights
  at::Tensor restore;  // [T] int64: each token's place
};

// `hooks` as for an encoder: hidden_dropout stands wherever transformers' T5 has dropout between states, attention's on
// probabilities. Its `adapts` must be set where `linear` is.
class T5Training {
 public:
  // Both must outlive it.
  T5Training(const T5Model& model, ForwardHooks hooks) : model_(model), hooks_(std::move(hooks)) {}

  const T5Model& model() const { return model_; }
  // Sources, each with so many virtual tokens in front; and what a decoder is given, without.
  T5Rows Sources(absl::Span<const std::vector<int32_t>* const> rows, int64_t virtual_tokens) const;
  T5Rows Targets(absl::Span<const std::vector<int32_t>* const> rows) const;

  // Embedded tokens [T, d_model]; those of sources with prompts in.
  at::Tensor EmbedSources(const T5Rows& sources) const;
  at::Tensor EmbedTargets(const T5Rows& targets) const;
  // Layers from 0 on, [T, d_model] -> the same; the last of a stack has the stack's final norm behind it, and the
  // decoder's what the output layer's input is scaled by.
  at::Tensor EncoderLayer(int64_t index, const at::Tensor& x, const T5Rows& sources) const;
  // `source` are the last encoder layer's states, [S, d_model].
  at::Tensor DecoderLayer(int64_t index, const at::Tensor& x, const T5Rows& targets, const at::Tensor& source,
                          const T5Rows& sources) const;
  // Summed cross entropy of the tokens that shall follow these states of the last decoder layer, fp32.
  at::Tensor Loss(const at::Tensor& x, c10::ArrayRef<int64_t> next) const;
  // The same without gradients, and how often the right token is the likeliest.
  TokenScores Score(const at::Tensor& x, c10::ArrayRef<int64_t> next) const;

 private:
  struct Sum {
    at::Tensor x, normed;
  };

  bool fused() const { return hooks_.fused != nullptr; }
  T5Rows Rows(absl::Span<const std::vector<int32_t>* const> rows, int64_t virtual_tokens, bool causal) const;
  const RelativeBias& BiasOf(const T5Rows& rows) const;
  // Sets what self-attention adds to scores.
  void AddBias(T5Rows& rows) const;
  bool Adapts(const std::string& module) const { return hooks_.linear && hooks_.adapts(module); }
  at::Tensor Dropped(const at::Tensor& x) const;
  at::Tensor Normed(const at::Tensor& x, const RmsNorm& norm) const;
  // A product and what adapters add to it; the modules' outputs side by side.
  at::Tensor Multiply(const JointLinear& joint, const at::Tensor& x) const;
  // residual + dropout(product), with an adapter's block in between where there is one behind `module`; and its norm.
  at::Tensor Add(const at::Tensor& product, const JointLinear& joint, const at::Tensor& residual) const;
  Sum AddAndNorm(const at::Tensor& product, const JointLinear& joint, const at::Tensor& residual,
                 const RmsNorm& norm) const;
  at::Tensor Attend(const at::Tensor& qkv, const T5Rows& rows) const;
  at::Tensor AttendSource(const at::Tensor& q, const at::Tensor& kv, const T5Rows& rows, const T5Rows& sources) const;
  at::Tensor PlainAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const T5Rows& rows,
                            const T5Rows& keys) const;
  at::Tensor FeedForwardProduct(const FeedForward& block, const at::Tensor& normed) const;
  at::Tensor Logits(const at::Tensor& x) const;

  const T5Model& model_;
  const ForwardHooks hooks_;
};

}  // namespace tenon::engine
