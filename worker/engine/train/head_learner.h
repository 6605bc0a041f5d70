// A linear probe: a classification head on sentence vectors of the frozen base, which are computed once.
// Engine-internal, torch inside.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "worker/engine/train/evaluation.h"
#include "worker/engine/train/learner.h"
#include "worker/engine/train/network.h"
#include "worker/engine/train/rows.h"

namespace tenon::engine {

// Vectors are pooled by the base's rule and have length 1 in any case, so that one learning rate fits every base.
class HeadLearner final : public Learner {
 public:
  HeadLearner(std::shared_ptr<const Encoder> encoder, const TrainOptions& options,
              std::shared_ptr<const TokenData> data, TrainableAdapter adapter);

  absl::StatusOr<bool> Prepare() override;
  absl::StatusOr<std::optional<StepResult>> TrainSlice(int64_t step) override;
  bool evaluates() const override { return evaluation_.any(); }
  std::optional<Metrics> EvaluationSlice() override;
  TrainableAdapter& adapter() override { return adapter_; }
  int64_t total_steps() const override { return plan_.total_steps(); }

 private:
  // Sentence vectors [rows, size] of one part of the data, filled batch by batch.
  struct Features {
    const TokenRows* rows;
    std::vector<MicroBatch> batches;
    size_t next = 0;
    at::Tensor values;
  };
  Features MakeFeatures(const TokenRows& rows) const;
  void Fill(Features& features) const;
  at::Tensor Vectors(const Features& features, const MicroBatch& rows) const;

  std::shared_ptr<const Encoder> encoder_;
  std::shared_ptr<const TokenData> data_;
  TrainableAdapter adapter_;
  BatchPlan plan_;
  ClassifierEvaluation evaluation_;
  Features train_, validation_;
};

}  // namespace tenon::engine
