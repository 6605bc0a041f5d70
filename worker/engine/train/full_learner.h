// Method `full`: every weight of a base. Engine-internal, torch inside.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "worker/engine/base.h"
#include "worker/engine/train/learner.h"
#include "worker/engine/train/pairs.h"
#include "worker/engine/train/rows.h"
#include "worker/engine/train/span_rows.h"

namespace tenon::engine {

// An encoder and a head on it. `initial`, which may be nullptr, is a head to begin with instead of a new one. What the
// learner writes is a base.
absl::StatusOr<std::unique_ptr<Learner>> NewFullLearner(std::shared_ptr<const Base> base, const TrainOptions& options,
                                                        std::shared_ptr<const TokenData> data,
                                                        const formats::TenonConfig& config,
                                                        const AdapterTensors* initial);
// The same with a head on every token.
absl::StatusOr<std::unique_ptr<Learner>> NewFullLearner(std::shared_ptr<const Base> base, const TrainOptions& options,
                                                        std::shared_ptr<const SpanData> data,
                                                        const formats::TenonConfig& config,
                                                        const AdapterTensors* initial);
// The same of a base that writes texts. It has nothing new: ADAPTER_INVALID for an `initial` that is not empty.
absl::StatusOr<std::unique_ptr<Learner>> NewFullLearner(std::shared_ptr<const Base> base, const TrainOptions& options,
                                                        std::shared_ptr<const PairData> data,
                                                        const formats::TenonConfig& config,
                                                        const AdapterTensors* initial);

}  // namespace tenon::engine
