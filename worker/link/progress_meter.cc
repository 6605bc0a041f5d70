#include "worker/link/progress_meter.h"

namespace tenon::link {
namespace {
constexpr int64_t kMeasuredSteps = 3;
}  // namespace

std::optional<v1::JobProgress> ProgressMeter::Add(const engine::TrainProgress& step, absl::Time now) {
  loss_ += step.loss;
  ++steps_;
  examples_ += step.examples;
  std::optional<v1::JobProgress> progress = Report(step.step, step.total_steps, now);
  if (!progress.has_value()) return progress;
  progress->set_phase(v1::JOB_PHASE_TRAINING);
  progress->set_loss(loss_ / static_cast<double>(steps_));
  progress->set_learning_rate(step.learning_rate);
  loss_ = 0;
  steps_ = examples_ = 0;
  return progress;
}

std::optional<v1::JobProgress> ProgressMeter::AddRows(int64_t done, int64_t total, absl::Time now) {
  examples_ = done - first_done_ - measured_;
  std::optional<v1::JobProgress> progress = Report(done, total, now);
  if (!progress.has_value()) return progress;
  progress->set_phase(v1::JOB_PHASE_EVALUATING);
  measured_ = done - first_done_;
  return progress;
}

std::optional<v1::JobProgress> ProgressMeter::Report(int64_t done, int64_t total, absl::Time now) {
  const bool first = !start_.has_value();
  if (first) {
    // The first step's own time is not known: rates count from its end.
    start_ = last_ = now;
    first_done_ = done;
  }
  if (!first && done < total && now - *last_ < interval_) return std::nullopt;
  v1::JobProgress progress;
  progress.set_done(done);
  progress.set_total(total);
  const double seconds = absl::ToDoubleSeconds(now - *last_);
  if (!first && seconds > 0) progress.set_examples_per_second(static_cast<double>(examples_) / seconds);
  const int64_t measured = done - first_done_;
  if (measured >= kMeasuredSteps) {
    const double each = absl::ToDoubleSeconds(now - *start_) / static_cast<double>(measured);
    progress.set_remaining_seconds(each * static_cast<double>(total - done));
  }
  last_ = now;
  return progress;
}

}  // namespace tenon::link
