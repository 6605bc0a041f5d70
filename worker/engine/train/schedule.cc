#include "worker/engine/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tenon::engine {

double LearningRate(const formats::TrainOptions& options, int64_t total_steps, int64_t step) {
  const auto done = static_cast<double>(step - 1);
  const auto warmup = static_cast<double>(options.warmup_steps);
  const auto total = static_cast<double>(total_steps);
  if (done < warmup) return options.learning_rate * done / std::max(1.0, warmup);
  double factor = 1;
  switch (options.schedule) {
    case formats::Schedule::kConstant:
      break;
    case formats::Schedule::kLinear:
      factor = std::max(0.0, (total - done) / std::max(1.0, total - warmup));
      break;
    case formats::Schedule::kCosine: {
      const double progress = (done - warmup) / std::max(1.0, total - warmup);
      factor = std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * progress)));
      break;
    }
  }
  return options.learning_rate * factor;
}

}  // namespace tenon::engine
