#include "worker/engine/train/schedule.h"

#include <gtest/gtest.h>

namespace tenon::engine {
namespace {

std::vector<double> Rates(formats::Schedule schedule, int64_t warmup, int64_t total) {
  formats::TrainOptions options;
  options.learning_rate = 1;
  options.schedule = schedule;
  options.warmup_steps = warmup;
  std::vector<double> rates;
  for (int64_t step = 1; step <= total; ++step) rates.push_back(LearningRate(options, total, step));
  return rates;
}

void ExpectRates(const std::vector<double>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-12) << i;
}

// Expected values are those of transformers' schedules at current_step = step - 1.
TEST(ScheduleTest, Linear) {
  ExpectRates(Rates(formats::Schedule::kLinear, 0, 5), {1, 0.8, 0.6, 0.4, 0.2});
  ExpectRates(Rates(formats::Schedule::kLinear, 2, 6), {0, 0.5, 1, 0.75, 0.5, 0.25});
}

TEST(ScheduleTest, Cosine) {
  ExpectRates(Rates(formats::Schedule::kCosine, 0, 4), {1, 0.8535533905932737, 0.5, 0.14644660940672627});
  ExpectRates(Rates(formats::Schedule::kCosine, 2, 6), {0, 0.5, 1, 0.8535533905932737, 0.5, 0.14644660940672627});
}

TEST(ScheduleTest, Constant) {
  ExpectRates(Rates(formats::Schedule::kConstant, 0, 3), {1, 1, 1});
  ExpectRates(Rates(formats::Schedule::kConstant, 4, 6), {0, 0.25, 0.5, 0.75, 1, 1});
}

TEST(ScheduleTest, WarmupBeyondTheRun) { ExpectRates(Rates(formats::Schedule::kLinear, 10, 3), {0, 0.1, 0.2}); }

}  // namespace
}  // namespace tenon::engine
