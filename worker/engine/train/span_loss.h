// Losses of a head on every token. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/model/packed_batch.h"
#include "worker/engine/train/batch_plan.h"
#include "worker/engine/train/rows.h"
#include "worker/engine/train/trainable.h"

namespace tenon::engine {

// Rows of a batch, and the tokens of them that the loss is on.
struct SpanTargets {
  std::vector<int64_t> labels;   // of tags, one for each of `tokens`, row by row; of answers two a row
  std::vector<int64_t> tokens;   // their places in the batch; of answers likewise
  std::vector<int64_t> counts;   // of tags: of each row
  std::vector<int64_t> offsets;  // of each row's own first token, an adapter's virtual ones not counted
  std::vector<int64_t> ends;     // and the first behind it
};
SpanTargets PickSpans(const TokenRows& data, const MicroBatch& rows, const PackedBatch& batch, int64_t virtual_tokens);

// Sum of the words' cross entropies of logits [T, labels], fp32 scalar.
at::Tensor SumTagLoss(const at::Tensor& logits, const SpanTargets& targets);
// Sum of the rows' mean of two cross entropies, of a beginning and of an end among the row's own tokens; logits [T, 2].
at::Tensor SumAnswerLoss(const at::Tensor& logits, const SpanTargets& targets);
// Sum of the rows' negative log-likelihoods under the adapter's chain (spans/crf.h).
at::Tensor SumChainLoss(const at::Tensor& logits, const SpanTargets& targets, const AdapterTensors& adapter);

}  // namespace tenon::engine
