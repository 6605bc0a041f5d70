// Texts that a T5 shall write, teacher-forced. Engine-internal, torch inside.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "worker/engine/model/t5/training.h"
#include "worker/engine/train/adapter_task.h"
#include "worker/engine/train/pairs.h"

namespace tenon::engine {

// The decoder is given each target shifted right behind decoder_start_token_id, and the loss is the cross entropy of
// its tokens, the end included. Validation gives `loss`, of a target token over all rows, and `token_accuracy`, the
// share of them that the model finds likeliest.
class Seq2SeqTask final : public AdapterTask {
 public:
  Seq2SeqTask(std::shared_ptr<const T5Model> model, const TrainOptions& options, std::shared_ptr<const PairData> data,
              TrainableAdapter adapter);

  TrainableAdapter& adapter() override { return adapter_; }
  JobDropout& dropout() override { return dropout_; }
  std::vector<int64_t> lengths() const override { return data_->train.lengths(); }
  int64_t Terms(const MicroBatch& rows) const override;
  std::unique_ptr<const Segments> Pass(const MicroBatch& rows) const override;
  bool evaluates() const override { return !validation_batches_.empty(); }
  std::optional<Metrics> EvaluationSlice() override;

 private:
  std::shared_ptr<const T5Model> model_;
  std::shared_ptr<const PairData> data_;
  TrainableAdapter adapter_;
  JobDropout dropout_;
  T5Training training_, evaluating_;
  std::vector<MicroBatch> validation_batches_;

  // Of the evaluation at hand.
  size_t next_batch_ = 0;
  int64_t scored_ = 0;
  TokenScores scores_;
};

}  // namespace tenon::engine
