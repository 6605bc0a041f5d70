// A job's progress on a terminal (one line that is redrawn) or in a log (a line for each thing that happened).
#pragma once

#include <cstdio>
#include <string>

#include "tenon/v1/jobs.pb.h"

namespace tenon::cli {

// `training ███████▌············ 120/500  loss 0.4120  83.1 rows/s  ETA 0:37`. Numbers not measured yet are left out.
std::string FormatProgress(const v1::JobProgress& progress, int bar_width);
// `queued, place 2: every worker is running another job`.
std::string FormatQueue(const v1::QueuePlace& queue);
// A line for an event worth reading, or empty.
std::string FormatEvent(const v1::JobEvent& event, bool with_training_points);
// `1:02:03`, `4:05`.
std::string FormatSeconds(double seconds);

// Not thread-safe.
class ProgressView {
 public:
  // Redraws one line when `live` (a terminal), else prints lines.
  ProgressView(FILE* out, bool live) : out_(out), live_(live) {}
  ~ProgressView() { Clear(); }
  ProgressView(const ProgressView&) = delete;
  ProgressView& operator=(const ProgressView&) = delete;

  void Show(v1::JobState state, const v1::JobProgress& progress, const v1::QueuePlace& queue);
  void Show(const v1::JobEvent& event);
  // A line above the live one.
  void Line(const std::string& text);
  void Clear();

 private:
  void Draw(const std::string& text);

  FILE* const out_;
  const bool live_;
  std::string drawn_;
};

}  // namespace tenon::cli
