// An encoder with a trainable adapter and head on it. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/engine/model/encoder.h"
#include "worker/engine/train/loss.h"
#include "worker/engine/train/rows.h"
#include "worker/engine/train/segments.h"
#include "worker/engine/train/trainable.h"

namespace tenon::engine {

// Rows of `data` by number, packed in this order, each with room for so many virtual tokens in front of it.
PackedBatch PackRows(const TokenRows& data, const MicroBatch& rows, const at::Device& device,
                     int64_t virtual_tokens = 0);
// What they are to give.
Targets PickTargets(const TokenRows& data, const MicroBatch& rows, Problem problem);

struct DropoutRates {
  double hidden = 0, attention = 0, classifier = 0;
};
// The base's own, `classifier` being that before the head, or `base_dropout` for all three when it is not negative.
DropoutRates ResolveDropout(const formats::EncoderConfig& config, double base_dropout,
                            formats::HeadKind head = formats::HeadKind::kSequence);

// The layers of a classifier as transformers orders them, one segment after the other: segments 0 .. layers - 1 are the
// encoder's (the first embeds too), segment `layers` is the head (formats::EncoderHead, or one layer on every token:
// the adapter's task says which). On the CPU everything between weights is fp32.
class Network {
 public:
  // `dropout` may be nullptr: evaluation. The adapter and it must outlive the network.
  Network(const EncoderLayers& encoder, const TrainableAdapter& adapter, const DropoutRates& rates,
          JobDropout* dropout);

  int64_t layers() const { return encoder_.config().num_hidden_layers; }
  // Token states [T, hidden] before the first layer.
  at::Tensor Embed(const PackedBatch& batch) const;
  // One layer, [T, hidden] -> [T, hidden]; before a classifier of rows the last one's states are of each row's first
  // token alone, [R, hidden].
  at::Tensor Layer(int64_t index, const at::Tensor& x, const PackedBatch& batch) const {
    const bool rows = kind_ == formats::HeadKind::kSequence && index + 1 == layers();
    return encoder_.Layer(index, x, batch, hooks_, rows ? Lines::kRows : Lines::kTokens);
  }
  // Logits [R, labels], or [T, labels], in fp32 from the last layer's states.
  at::Tensor Head(const at::Tensor& states) const;
  // All of it, without gradients.
  at::Tensor Logits(const PackedBatch& batch) const;
  // The way of a micro-batch, whose loss is SumLoss of these targets; the network must outlive it.
  std::unique_ptr<const Segments> Pass(PackedBatch batch, Targets targets) const;

 private:
  const EncoderLayers& encoder_;
  const TrainableAdapter& adapter_;
  const formats::HeadKind kind_;
  DropoutRates rates_;
  JobDropout* dropout_;
  ForwardHooks hooks_;
};

}  // namespace tenon::engine
