// An adapter within a frozen encoder and a classification head on it: every method whose gradients go through layers.
// Engine-internal, torch inside.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "worker/engine/train/learner.h"
#include "worker/engine/train/network.h"
#include "worker/engine/train/rows.h"
#include "worker/engine/train/segmented_pass.h"

namespace tenon::engine {

class AdapterLearner : public Learner {
 public:
  AdapterLearner(std::shared_ptr<const EncoderLayers> encoder, const TrainOptions& options,
                 std::shared_ptr<const TokenData> data, TrainableAdapter adapter);

  absl::StatusOr<bool> Prepare() override { return false; }
  absl::StatusOr<std::optional<StepResult>> TrainSlice(int64_t step) override;
  at::Tensor ValidationLogits(const std::vector<int64_t>& rows) override;
  const std::vector<MicroBatch>& validation_batches() const override { return validation_batches_; }
  TrainableAdapter& adapter() override { return adapter_; }
  int64_t total_steps() const override { return plan_.total_steps(); }

 private:
  void StartStep(int64_t step);
  void StartMicroBatch();
  PackedBatch Packed(const TokenRows& data, const MicroBatch& rows) const;

  std::shared_ptr<const EncoderLayers> encoder_;
  std::shared_ptr<const TokenData> data_;
  TrainableAdapter adapter_;
  JobDropout dropout_;
  Network training_, evaluating_;
  BatchPlan plan_;
  std::vector<MicroBatch> validation_batches_;

  StepPlan step_;  // micro-batches of the step at hand
  int64_t first_micro_batch_ = 0;
  size_t micro_ = 0;
  std::unique_ptr<SegmentedPass> pass_;
  StepResult result_;
};

}  // namespace tenon::engine
