// What an adapter is trained for: the rows, the network they go through, and how it is scored. Engine-internal, torch
// inside.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "worker/engine/train/batch_plan.h"
#include "worker/engine/train/dropout.h"
#include "worker/engine/train/learner.h"
#include "worker/engine/train/segments.h"
#include "worker/engine/train/trainable.h"

namespace tenon::engine {

class AdapterTask {
 public:
  virtual ~AdapterTask() = default;

  virtual TrainableAdapter& adapter() = 0;
  virtual JobDropout& dropout() = 0;

  // Tokens of each training row.
  virtual std::vector<int64_t> lengths() const = 0;
  // What the loss of these training rows is a mean over: rows, or their target tokens.
  virtual int64_t Terms(const MicroBatch& rows) const = 0;
  // Their way through the network, whose loss is the sum over the terms.
  virtual std::unique_ptr<const Segments> Pass(const MicroBatch& rows) const = 0;

  // As Learner's.
  virtual bool evaluates() const = 0;
  virtual std::optional<Metrics> EvaluationSlice() = 0;
};

}  // namespace tenon::engine
