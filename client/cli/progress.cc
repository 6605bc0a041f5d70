#include "client/cli/progress.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/output.h"

namespace tenon::cli {
namespace {

std::string Bar(double part, int width) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::clamp(part, 0.0, 1.0) * width * 8);
  std::string bar;
  for (int i = 0; i < eighths / 8; ++i) bar += "█";
  bar += kEighths[eighths % 8];
  for (int i = eighths / 8 + (eighths % 8 != 0); i < width; ++i) bar += "·";
  return bar;
}

}  // namespace

std::string FormatSeconds(double seconds) {
  const int64_t whole = std::llround(std::max(0.0, seconds));
  if (whole >= 3600) return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
  return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
}

std::string FormatProgress(const v1::JobProgress& progress, int bar_width) {
  std::string line = Word(progress.phase());
  if (progress.total() > 0) {
    const double part = static_cast<double>(progress.done()) / static_cast<double>(progress.total());
    absl::StrAppend(&line, " ", Bar(part, bar_width), " ", progress.done(), "/", progress.total());
  }
  if (progress.has_loss()) absl::StrAppendFormat(&line, "  loss %.4f", progress.loss());
  if (progress.has_examples_per_second()) absl::StrAppendFormat(&line, "  %.1f rows/s", progress.examples_per_second());
  if (progress.has_remaining_seconds()) absl::StrAppend(&line, "  ETA ", FormatSeconds(progress.remaining_seconds()));
  return line;
}

std::string FormatQueue(const v1::QueuePlace& queue) {
  std::string line = "queued";
  if (queue.position() > 0) absl::StrAppend(&line, ", place ", queue.position());
  if (!queue.explanation().empty()) absl::StrAppend(&line, ": ", queue.explanation());
  return line;
}

std::string FormatEvent(const v1::JobEvent& event, bool with_training_points) {
  switch (event.event_case()) {
    case v1::JobEvent::kStateChange: {
      const auto& change = event.state_change();
      std::string line = Word(change.state());
      if (change.phase() != v1::JOB_PHASE_UNSPECIFIED) absl::StrAppend(&line, ": ", Word(change.phase()));
      if (!change.reason().empty()) absl::StrAppend(&line, " (", change.reason(), ")");
      return line;
    }
    case v1::JobEvent::kMetrics: {
      const auto& point = event.metrics();
      if (point.kind() == "train" && !with_training_points) return "";
      std::string line = point.kind() == "train" || point.kind() == "validation"
                             ? absl::StrCat("step ", point.step(), "  ", point.kind())
                             : point.kind();
      for (const v1::Metric& metric : point.metrics()) {
        // A learning rate needs its digits where they are.
        const bool small = metric.value() != 0 && std::abs(metric.value()) < 0.01;
        absl::StrAppend(&line, "  ", metric.name(), " ",
                        small ? absl::StrFormat("%.3g", metric.value()) : absl::StrFormat("%.4f", metric.value()));
      }
      return line;
    }
    case v1::JobEvent::kNotice:
      return absl::StrCat(Word(event.notice().severity()), ": ", event.notice().message());
    default:
      return "";  // a checkpoint is the machine's own affair
  }
}

void ProgressView::Show(v1::JobState state, const v1::JobProgress& progress, const v1::QueuePlace& queue) {
  if (!live_) return;
  if (state == v1::JOB_STATE_QUEUED) {
    Draw(FormatQueue(queue));
  } else if (state == v1::JOB_STATE_RUNNING) {
    Draw(FormatProgress(progress, 24));
  }
}

void ProgressView::Show(const v1::JobEvent& event) {
  const std::string line = FormatEvent(event, !live_);
  if (!line.empty()) Line(line);
}

void ProgressView::Line(const std::string& text) {
  const std::string drawn = drawn_;
  Clear();
  std::fprintf(out_, "%s\n", text.c_str());
  std::fflush(out_);
  if (!drawn.empty()) Draw(drawn);
}

void ProgressView::Draw(const std::string& text) {
  if (text == drawn_) return;
  std::fprintf(out_, "\r\033[K%s", text.c_str());
  std::fflush(out_);
  drawn_ = text;
}

void ProgressView::Clear() {
  if (drawn_.empty()) return;
  std::fputs("\r\033[K", out_);
  std::fflush(out_);
  drawn_.clear();
}

}  // namespace tenon::cli
