// A head on every token of an encoder: tags of words, or where answers begin and end. Engine-internal, torch inside.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "worker/engine/evaluate/answers.h"
#include "worker/engine/evaluate/tags.h"
#include "worker/engine/train/adapter_task.h"
#include "worker/engine/train/network.h"
#include "worker/engine/train/span_loss.h"
#include "worker/engine/train/span_rows.h"

namespace tenon::engine {

class SpanTask final : public AdapterTask {
 public:
  SpanTask(std::shared_ptr<const EncoderLayers> encoder, const TrainOptions& options,
           std::shared_ptr<const SpanData> data, TrainableAdapter adapter);

  TrainableAdapter& adapter() override { return adapter_; }
  JobDropout& dropout() override { return dropout_; }
  std::vector<int64_t> lengths() const override { return data_->train.lengths(); }
  // Words with a tag; rows, of answers.
  int64_t Terms(const MicroBatch& rows) const override { return TermsOf(data_->train, rows); }
  std::unique_ptr<const Segments> Pass(const MicroBatch& rows) const override;
  bool evaluates() const override { return !batches_.empty(); }
  // Of tags `precision`, `recall`, `f1` (of entities), `accuracy` (of words) and `loss`; of answers `exact_match`, `f1`
  // and `loss`, which is by window.
  std::optional<Metrics> EvaluationSlice() override;

 private:
  PackedBatch Packed(const TokenRows& data, const MicroBatch& rows) const;
  int64_t TermsOf(const TokenRows& data, const MicroBatch& rows) const;
  at::Tensor Loss(const at::Tensor& logits, const SpanTargets& targets) const;
  void CountTags(const std::vector<float>& logits, const SpanTargets& targets);
  Metrics FinishTags() const;
  Metrics FinishAnswers() const;

  std::shared_ptr<const EncoderLayers> encoder_;
  std::shared_ptr<const SpanData> data_;
  TrainableAdapter adapter_;
  JobDropout dropout_;
  Network training_, evaluating_;
  std::vector<MicroBatch> batches_;  // of validation rows

  // Of the evaluation at hand.
  size_t next_ = 0;
  double loss_ = 0;
  int64_t terms_ = 0;
  std::optional<TagEvaluator> tags_;
  std::vector<std::vector<float>> rows_;  // of answers: each window's logits [tokens, 2]
};

}  // namespace tenon::engine
