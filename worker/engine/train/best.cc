#include "worker/engine/train/best.h"

#include <limits>

namespace tenon::engine {

bool BestTracker::Add(int64_t step, const std::map<std::string, double>& metrics) {
  const auto found = metrics.find(metric_);
  const double value = found == metrics.end() ? std::numeric_limits<double>::lowest() : found->second;
  const bool better = best_step_ == 0 || (metric_ == "loss" ? value < best_value_ : value > best_value_);
  if (better) {
    best_step_ = step;
    best_value_ = value;
    worse_ = 0;
  } else {
    ++worse_;
  }
  return better;
}

void BestTracker::Restore(int64_t best_step, double best_value, int64_t worse) {
  best_step_ = best_step;
  best_value_ = best_value;
  worse_ = worse;
}

}  // namespace tenon::engine
