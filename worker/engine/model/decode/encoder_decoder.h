// A network that reads a source and writes a text, as decoding needs it, whichever family it is of. Engine-internal,
// torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "worker/engine/model/decode/step_attention.h"
#include "worker/engine/model/encoder.h"
#include "worker/engine/model/packed_batch.h"

namespace tenon::engine {

// Immutable weights in one precision on one device. All methods are const and re-entrant; they are for inference.
class EncoderDecoder {
 public:
  virtual ~EncoderDecoder() = default;

  // Final states of sources' tokens, one row each: [T, hidden].
  virtual at::Tensor Encode(const PackedBatch& batch, const ForwardHooks& hooks) const = 0;
  // What a decoding step reads of these states in every layer: [T, 2 * heads * head_size], keys, then values.
  virtual std::vector<at::Tensor> SourceKeysValues(const at::Tensor& states, const ForwardHooks& hooks) const = 0;

  // For decoding steps of these weights; it must not outlive them.
  virtual std::unique_ptr<StepAttention> NewStepAttention() const = 0;
  // Newest tokens of lines, and their places in them from 0, both [lines] int64 -> what the output layer reads,
  // [lines, hidden].
  virtual at::Tensor Step(const at::Tensor& ids, const at::Tensor& places, StepAttention& attention,
                          const ForwardHooks& hooks) const = 0;
  // Logits [lines, vocab] fp32 of what Step gave, in any order of lines.
  virtual at::Tensor Output(const at::Tensor& states, const ForwardHooks& hooks) const = 0;

  virtual int64_t vocab_size() const = 0;
  virtual int64_t hidden_size() const = 0;
  virtual int64_t decoder_heads() const = 0;
  // Tokens that a source may have, and a line; 0: any number.
  virtual int64_t max_positions() const = 0;
  virtual at::Device device() const = 0;
  // Whether a step's states are fp32 on the CPU and our own kernels take them: sources' keys are turned for them then.
  virtual bool own_kernels() const = 0;
  // Whether the encoder's rows attend in groups (Pack's `grouped`), and whether threads are better given rows of it
  // than a share of every product.
  virtual bool grouped() const = 0;
  virtual bool by_rows() const = 0;
  // As Encoder.
  virtual int64_t RoundTokens(int64_t tokens) const = 0;
  // Of states and of adapters' tensors.
  virtual at::ScalarType inference_dtype() const = 0;
  // Names and [out, in] of every linear layer that a LoRA may target; `lm_head` where it is not the embedding.
  virtual const std::map<std::string, std::pair<int64_t, int64_t>>& linear_layers() const = 0;
  // [vocab, hidden], of the weights' type.
  virtual const at::Tensor& output_layer() const = 0;
  virtual int64_t ResidentBytes() const = 0;
};

}  // namespace tenon::engine
