// Which rows make which micro-batch of a run: a pure function of the options, the row lengths and the seed. No torch.
#pragma once

#include <cstdint>
#include <vector>

#include "common/formats/train_options.h"

namespace tenon::engine {

// Row numbers of one micro-batch.
using MicroBatch = std::vector<int64_t>;
// Micro-batches of one optimizer step, at least one. A step never spans two epochs, so the last of an epoch may be
// smaller.
using StepPlan = std::vector<MicroBatch>;

// Every row is seen once in each epoch. With group_by_length rows are shuffled, cut into stretches of many batches,
// sorted by length within a stretch and cut into batches, whose order is then shuffled: like lengths share a batch, and
// a batch may come at any time.
class BatchPlan {
 public:
  // `lengths` in tokens, one for each row; not empty. `options` are checked already.
  BatchPlan(const formats::TrainOptions& options, std::vector<int64_t> lengths);

  int64_t total_steps() const { return total_steps_; }
  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  // The step's micro-batches; `step` from 1 to total_steps. Cheap within one epoch.
  StepPlan Step(int64_t step);
  // Micro-batches before this step, over the whole run: their index names a dropout stream.
  int64_t MicroBatchesBefore(int64_t step) const;

 private:
  void MakeEpoch(int64_t epoch);

  formats::TrainOptions options_;
  std::vector<int64_t> lengths_;
  int64_t batches_per_epoch_, steps_per_epoch_, total_steps_;
  int64_t epoch_ = -1;  // the one in steps_
  std::vector<StepPlan> steps_;
};

// Cuts rows 0 .. n-1 into batches of at most `max_tokens` tokens and `max_rows` rows, like lengths together: for passes
// whose order does not matter. A longer row is a batch of its own.
std::vector<MicroBatch> BatchesByTokens(const std::vector<int64_t>& lengths, int64_t max_tokens, int64_t max_rows);

}  // namespace tenon::engine
