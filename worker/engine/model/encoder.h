// An encoder of any family (formats::EncoderFamily): BERT's network (Devlin et al., 2018) as transformers computes it,
// its norms behind its sub-layers. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/encoder_family.h"
#include "common/formats/safetensors.h"
#include "worker/engine/device.h"
#include "worker/engine/model/adapted_linear.h"
#include "worker/engine/model/linear.h"
#include "worker/engine/model/packed_batch.h"

namespace tenon::engine {

// What the lines of a layer's input stand for: every token, or every row's first token.
enum class Lines { kTokens, kRows };

// Adds an adapter's part to a linear layer's output. `module` is the layer's name without task prefix, such as
// `encoder.layer.0.attention.self.query`; `x` [lines, in]; `y` [lines, out] is base(x) and may be changed in place in
// inference. Returns y + delta.
using LinearHook =
    std::function<at::Tensor(const std::string& module, const at::Tensor& x, const at::Tensor& y, Lines lines)>;

struct FrozenNorm;   // worker/engine/model/fused.h
class WeightReader;  // worker/engine/model/weights.h

// Adds a bottleneck's part behind a sub-layer's last product. `module` names that product; h [lines, hidden] is its
// output after dropout, to which `residual` will be added and `norm` applied. Returns h + delta; in inference h may be
// changed in place.
using BlockHook = std::function<at::Tensor(const std::string& module, const at::Tensor& h, const at::Tensor& residual,
                                           const FrozenNorm& norm, Lines lines)>;

// Puts the embeddings of virtual tokens where Pack left room for them. `words` [T, hidden] are the batch's word
// embeddings, which may be changed in place in inference. Returns them with the prompts in.
using PromptHook = std::function<at::Tensor(const at::Tensor& words, const PackedBatch& batch)>;

// Dropout drawn from a job's own stream; empty in inference. Returns x with each element kept with probability 1 - p
// and scaled.
using DropoutHook = std::function<at::Tensor(const at::Tensor& x, double p)>;

// What the fused functions of training on the CPU ask for instead of the hooks above; none may be empty.
struct FusedHooks {
  // The LoRA pair of a module, if it has one; `first` is not looked at.
  std::function<std::optional<LowRank>(const std::string& module)> low_rank;
  // Whether `ForwardHooks::linear` must be called for this module: it is trained whole.
  std::function<bool(const std::string& module)> replaces;
  // The next mask of the job's stream; one that keeps everything for p = 0 and in evaluation.
  std::function<kernels::DropoutMask(double p)> dropout;
};

struct ForwardHooks {
  LinearHook linear;  // may be empty
  // Whether `linear` changes this module's output; empty: it may change any.
  std::function<bool(const std::string& module)> adapts;
  BlockHook blocks;  // may be empty
  // Whether `blocks` changes anything behind this module; set with it.
  std::function<bool(const std::string& module)> has_block;
  PromptHook prompts;   // may be empty
  DropoutHook dropout;  // may be empty
  double hidden_dropout = 0, attention_dropout = 0;
  // Layers then run in fp32 by the fused functions, whatever the weights' precision; for the CPU. They draw no dropout
  // through `dropout`.
  std::shared_ptr<const FusedHooks> fused;
  // Kernels chosen by measurement at load, without autograd; `linear` may then change `y` in place. Training, and
  // whatever must repeat itself bit for bit in another process, leaves it false.
  bool inference = false;
};

// What training runs of an encoder, wherever its weights are. Autograd works through every method.
class EncoderLayers {
 public:
  virtual ~EncoderLayers() = default;

  // Token and position embeddings, and those of token type 0 where there are types, normalised: [T, hidden].
  virtual at::Tensor Embed(const PackedBatch& batch, const ForwardHooks& hooks) const = 0;
  // Layer `index` (from 0): [T, hidden] -> [T, hidden]. With Lines::kRows [R, hidden], R rounded like `batch.first`:
  // each row's first token alone, which is all that a classifier reads of the last layer.
  virtual at::Tensor Layer(int64_t index, const at::Tensor& x, const PackedBatch& batch, const ForwardHooks& hooks,
                           Lines lines) const = 0;
  // What the head's output layer reads: activation(dense(first token)), [R, hidden] -> [R, hidden], where takes_head().
  // A dense layer that the network does not have comes from the hooks (ForwardHooks::linear); rows for which none does
  // mean nothing.
  virtual at::Tensor Pool(const at::Tensor& first_tokens, const ForwardHooks& hooks) const = 0;

  virtual const formats::EncoderConfig& config() const = 0;
  virtual at::Device device() const = 0;
};

// Immutable weights in one precision on one device. All methods are const and re-entrant. Autograd works through every
// method when the hooks bring tensors that require it; base weights never do.
class Encoder : public EncoderLayers {
 public:
  // With `prepare_inference` it measures, once for each shape of layer, which product is faster on this machine, and
  // keeps packed weights where they are: ForwardHooks::inference uses them. It measures within `run_alone`.
  static absl::StatusOr<std::shared_ptr<const Encoder>> Load(const formats::EncoderConfig& config,
                                                             const formats::Safetensors& weights, const Device& device,
                                                             Precision precision, bool prepare_inference = false,
                                                             const RunAlone& run_alone = {});
  // The same as a part of a larger network, out of that network's file: `words` [vocab, hidden] are there already, and
  // that nothing of the file is left over is the caller's to check. `device` and `type` are the reader's. May throw as
  // torch does.
  static absl::StatusOr<std::shared_ptr<const Encoder>> Read(const formats::EncoderConfig& config, WeightReader& reader,
                                                             at::Tensor words, at::Device device, at::ScalarType type,
                                                             bool prepare_inference, const RunAlone& run_alone);

  // Whether a classifier of whole rows can stand on it: not on a BERT that has lost its pooler, nor on a family without
  // one.
  virtual bool takes_head() const = 0;
  // The output layer of the base's own head, when config says it has one: [lines, hidden] -> [lines, labels]. Lines are
  // what Pool gives, or, of a head on every token (formats::HeadKind), the last layer's states.
  virtual at::Tensor Classify(const at::Tensor& pooled) const = 0;
  virtual bool has_classifier() const = 0;
  // What its sentence vectors go through; not defined in most.
  virtual const Linear& projection() const = 0;

  virtual at::ScalarType dtype() const = 0;
  // Names and [out, in] of every linear layer a LoRA may target, without task prefix: those of the encoder, not of a
  // head.
  virtual const std::map<std::string, std::pair<int64_t, int64_t>>& linear_layers() const = 0;
  // fp32 copies of the word embeddings of these tokens, [ids, hidden].
  virtual at::Tensor CopyWords(const std::vector<int64_t>& ids) const = 0;
  // fp32 copies of such a layer's weight [out, in] and bias [out], for an adapter that replaces it whole.
  virtual std::pair<at::Tensor, at::Tensor> CopyLinear(const std::string& module) const = 0;
  virtual int64_t ResidentBytes() const = 0;
  // What to round a batch's tokens to (Pack's `round_to`): kernels that are compiled for each size want few sizes.
  virtual int64_t RoundTokens(int64_t tokens) const = 0;
  // Whether inference takes rows one by one, by our own kernels: Pack needs no groups, and threads are better given
  // rows than a share of every product.
  virtual bool by_rows() const = 0;
  // The form that its own kernels' weights have then, and nothing else.
  virtual std::optional<PanelFormat> panels() const = 0;
  // The type of states in inference, which adapters' tensors must have too; dtype() or wider.
  virtual at::ScalarType inference_dtype() const = 0;
};

// States of each row's first token: [T, hidden] -> [R, hidden], R rounded like `batch.first`.
at::Tensor FirstTokens(const at::Tensor& x, const PackedBatch& batch);
// States of every token, [T, hidden], as they are or as FirstTokens.
at::Tensor Picked(const at::Tensor& x, const PackedBatch& batch, Lines lines);

// Sentence vectors as sentence-transformers' Pooling and Normalize make them, in fp32: [T, hidden] -> [R, hidden].
// Between the two they go through `projection` where it is defined, in fp32: -> [R, out].
at::Tensor PoolSentences(const at::Tensor& x, const PackedBatch& batch, formats::Pooling pooling, bool normalize,
                         const Linear& projection = {});

}  // namespace tenon::engine
