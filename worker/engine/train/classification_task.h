// A classification head on an encoder. Engine-internal, torch inside.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "worker/engine/train/adapter_task.h"
#include "worker/engine/train/evaluation.h"
#include "worker/engine/train/network.h"
#include "worker/engine/train/rows.h"

namespace tenon::engine {

class ClassificationTask final : public AdapterTask {
 public:
  ClassificationTask(std::shared_ptr<const Encoder> encoder, const TrainOptions& options,
                     std::shared_ptr<const TokenData> data, TrainableAdapter adapter);

  TrainableAdapter& adapter() override { return adapter_; }
  JobDropout& dropout() override { return dropout_; }
  std::vector<int64_t> lengths() const override { return data_->train.lengths(); }
  int64_t Terms(const MicroBatch& rows) const override { return static_cast<int64_t>(rows.size()); }
  std::unique_ptr<const Segments> Pass(const MicroBatch& rows) const override;
  bool evaluates() const override { return evaluation_.any(); }
  std::optional<Metrics> EvaluationSlice() override;

 private:
  PackedBatch Packed(const TokenRows& data, const MicroBatch& rows) const;

  std::shared_ptr<const Encoder> encoder_;
  std::shared_ptr<const TokenData> data_;
  TrainableAdapter adapter_;
  JobDropout dropout_;
  Network training_, evaluating_;
  ClassifierEvaluation evaluation_;
};

}  // namespace tenon::engine
