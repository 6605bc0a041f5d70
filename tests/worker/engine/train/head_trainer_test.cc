#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "tests/worker/engine/train/toy_run.h"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/infer.h"

namespace tenon::engine {
namespace {

TrainOptions HeadOptions() {
  TrainOptions options = testing::ToyOptions();
  options.method = Method::kHead;
  options.learning_rate = 1e-2;
  options.max_steps = 400;
  options.eval_steps = 100;
  options.save_steps = 1000;
  return options;
}

TEST(HeadTrainerTest, LearnsAndServes) {
  const auto base = testing::MakeToyBase();
  const TrainData data = testing::ToyData(96, 48);
  const testing::ToyRun run = testing::RunToy(base, HeadOptions(), data);
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_GT(run.Kind("validation").back().metrics.at("accuracy"), 0.8);
  EXPECT_TRUE(run.Kind("head_baseline").empty());
  EXPECT_EQ(run.done->trainable_parameters, 2 * 32 + 2);
  const auto host = HostAdapter::Load(run.folder, *base);
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_EQ((*host)->config().method, "head");
  EXPECT_TRUE((*host)->config().normalize);
  const auto device = DeviceAdapter::Place(*host, *base);
  ASSERT_TRUE(device.ok()) << device.status();
  int64_t right = 0;
  for (const LabelledText& row : data.validation) {
    const std::vector<int32_t> ids = base->tokenizer().Encode(row.text, base->default_max_tokens()).ids;
    const auto logits = Infer(*base, {InferRow{.ids = &ids, .adapter = device->get(), .output = Output::kLogits}});
    ASSERT_TRUE(logits.ok()) << logits.status();
    right += ((*logits)[0][1] > (*logits)[0][0]) == (row.labels[0] == 1);
  }
  double best = 0;
  for (const auto& evaluation : run.Kind("validation")) best = std::max(best, evaluation.metrics.at("accuracy"));
  EXPECT_DOUBLE_EQ(static_cast<double>(right) / 48, best);
}

TEST(HeadTrainerTest, SameSeedSameBytes) {
  const auto base = testing::MakeToyBase();
  TrainOptions options = HeadOptions();
  options.max_steps = 50;
  const std::string first = testing::RunToy(base, options, testing::ToyData(40, 16)).weights;
  EXPECT_FALSE(first.empty());
  EXPECT_EQ(testing::RunToy(base, options, testing::ToyData(40, 16)).weights, first);
  options.seed = 1;
  EXPECT_NE(testing::RunToy(base, options, testing::ToyData(40, 16)).weights, first);
}

TEST(HeadTrainerTest, AccumulationIsOneLargerBatch) {
  const auto base = testing::MakeToyBase();
  TrainOptions options = HeadOptions();
  options.max_steps = 20;
  options.batch_size = 4;
  options.gradient_accumulation_steps = 2;
  const auto parts = testing::RunToy(base, options, testing::ToyData(40, 0));
  options.batch_size = 8;
  options.gradient_accumulation_steps = 1;
  const auto whole = testing::RunToy(base, options, testing::ToyData(40, 0));
  ASSERT_EQ(parts.progress.size(), 20u);
  EXPECT_EQ(parts.progress[0].examples, 8);
  EXPECT_EQ(parts.weights, whole.weights);
}

}  // namespace
}  // namespace tenon::engine
