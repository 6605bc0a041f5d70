// Which evaluation was the best so far, and whether to stop early. No torch.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace tenon::engine {

class BestTracker {
 public:
  // `metric`: `loss` is better when lower, every other when higher. `patience` 0: never stops.
  BestTracker(std::string metric, int64_t patience) : metric_(std::move(metric)), patience_(patience) {}

  // Takes the evaluation after `step`; true when it is better than all before. An equal one is not. One without the
  // metric, such as a correlation of predictions that are all the same, is below every other.
  bool Add(int64_t step, const std::map<std::string, double>& metrics);
  // Whether `patience` evaluations in a row were not better.
  bool ShouldStop() const { return patience_ > 0 && worse_ >= patience_; }

  // Step of the best one; 0 before the first.
  int64_t best_step() const { return best_step_; }
  double best_value() const { return best_value_; }
  int64_t worse() const { return worse_; }
  // Puts back what a checkpoint kept.
  void Restore(int64_t best_step, double best_value, int64_t worse);

 private:
  std::string metric_;
  int64_t patience_;
  int64_t best_step_ = 0;
  double best_value_ = 0;
  int64_t worse_ = 0;
};

}  // namespace tenon::engine
