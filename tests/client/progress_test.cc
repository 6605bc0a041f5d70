#include "client/cli/progress.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace tenon::cli {
namespace {

v1::JobProgress Training(int64_t done, int64_t total) {
  v1::JobProgress progress;
  progress.set_phase(v1::JOB_PHASE_TRAINING);
  progress.set_done(done);
  progress.set_total(total);
  return progress;
}

TEST(FormatProgress, ShowsOnlyWhatWasMeasured) {
  v1::JobProgress progress = Training(125, 500);
  EXPECT_EQ(FormatProgress(progress, 8), "training ██······ 125/500");
  progress.set_loss(0.41234);
  progress.set_examples_per_second(83.06);
  progress.set_remaining_seconds(37.4);
  EXPECT_EQ(FormatProgress(progress, 8), "training ██······ 125/500  loss 0.4123  83.1 rows/s  ETA 0:37");
}

TEST(FormatProgress, TheBarFillsByEighths) {
  EXPECT_EQ(FormatProgress(Training(1, 16), 2), "training ▏· 1/16");
  EXPECT_EQ(FormatProgress(Training(16, 16), 2), "training ██ 16/16");
  // More done than planned draws no longer bar.
  EXPECT_EQ(FormatProgress(Training(20, 16), 2), "training ██ 20/16");
  EXPECT_EQ(FormatProgress(Training(0, 0), 2), "training");
}

TEST(FormatSeconds, MinutesAndHours) {
  EXPECT_EQ(FormatSeconds(0), "0:00");
  EXPECT_EQ(FormatSeconds(65.4), "1:05");
  EXPECT_EQ(FormatSeconds(3725), "1:02:05");
  EXPECT_EQ(FormatSeconds(-3), "0:00");
}

TEST(FormatQueue, PlaceAndReason) {
  v1::QueuePlace queue;
  EXPECT_EQ(FormatQueue(queue), "queued");
  queue.set_position(2);
  queue.set_explanation("every worker is running another job");
  EXPECT_EQ(FormatQueue(queue), "queued, place 2: every worker is running another job");
}

v1::JobEvent Metrics(const std::string& kind, int64_t step) {
  v1::JobEvent event;
  event.mutable_metrics()->set_kind(kind);
  event.mutable_metrics()->set_step(step);
  v1::Metric* metric = event.mutable_metrics()->add_metrics();
  metric->set_name("accuracy");
  metric->set_value(0.875);
  return event;
}

TEST(FormatEvent, Metrics) {
  EXPECT_EQ(FormatEvent(Metrics("validation", 50), false), "step 50  validation  accuracy 0.8750");
  EXPECT_EQ(FormatEvent(Metrics("head_baseline", 0), false), "head_baseline  accuracy 0.8750");
  EXPECT_EQ(FormatEvent(Metrics("train", 10), false), "");
  EXPECT_EQ(FormatEvent(Metrics("train", 10), true), "step 10  train  accuracy 0.8750");
}

TEST(FormatEvent, SmallNumbersKeepTheirDigits) {
  v1::JobEvent event = Metrics("train", 10);
  event.mutable_metrics()->mutable_metrics(0)->set_name("learning_rate");
  event.mutable_metrics()->mutable_metrics(0)->set_value(0.000125);
  EXPECT_EQ(FormatEvent(event, true), "step 10  train  learning_rate 0.000125");
}

TEST(FormatEvent, StatesAndNotices) {
  v1::JobEvent event;
  event.mutable_state_change()->set_state(v1::JOB_STATE_RUNNING);
  event.mutable_state_change()->set_phase(v1::JOB_PHASE_TRAINING);
  EXPECT_EQ(FormatEvent(event, false), "running: training");
  event.mutable_state_change()->set_state(v1::JOB_STATE_QUEUED);
  event.mutable_state_change()->set_phase(v1::JOB_PHASE_UNSPECIFIED);
  event.mutable_state_change()->set_reason("its worker was lost");
  EXPECT_EQ(FormatEvent(event, false), "queued (its worker was lost)");
  event.mutable_notice()->set_severity(v1::JobEvent::Notice::SEVERITY_WARNING);
  event.mutable_notice()->set_message("3 texts were cut");
  EXPECT_EQ(FormatEvent(event, false), "warning: 3 texts were cut");
  event.mutable_checkpoint()->set_step(50);
  EXPECT_EQ(FormatEvent(event, false), "");
}

class ProgressViewTest : public testing::Test {
 protected:
  ~ProgressViewTest() override { std::fclose(file_); }
  std::string Written() {
    std::fflush(file_);
    std::rewind(file_);
    std::string text(1000, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file_));
    return text;
  }
  FILE* file_ = std::tmpfile();
};

TEST_F(ProgressViewTest, ATerminalLineIsRedrawnAndCleared) {
  {
    ProgressView view(file_, true);
    view.Show(v1::JOB_STATE_RUNNING, Training(1, 2), {});
    view.Show(v1::JOB_STATE_RUNNING, Training(1, 2), {});  // nothing new: nothing drawn
    view.Line("note");
  }
  const std::string bar = "\r\033[K" + FormatProgress(Training(1, 2), 24);
  EXPECT_EQ(Written(), bar + "\r\033[Knote\n" + bar + "\r\033[K");
}

TEST_F(ProgressViewTest, ALogGetsEventsAndNoBar) {
  {
    ProgressView view(file_, false);
    view.Show(v1::JOB_STATE_RUNNING, Training(1, 2), {});
    view.Show(Metrics("train", 1));
  }
  EXPECT_EQ(Written(), "step 1  train  accuracy 0.8750\n");
}

}  // namespace
}  // namespace tenon::cli
