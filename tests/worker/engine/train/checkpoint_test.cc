#include "worker/engine/checkpoint/checkpoint.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <fstream>

#include "common/formats/status.h"
#include "tests/worker/engine/train/toy_run.h"

namespace tenon::engine {
namespace {

Checkpoint Example() {
  Checkpoint checkpoint;
  checkpoint.step = 150;
  checkpoint.total_steps = 500;
  checkpoint.seed = ~uint64_t{0};
  checkpoint.evaluated_step = 100;
  checkpoint.best_step = 50;
  checkpoint.best_value = 0.1 + 0.2;
  checkpoint.worse_evaluations = 1;
  checkpoint.trained_tokens = 12345;
  checkpoint.machine = {"A CPU", 2, "fp32"};
  checkpoint.weights = {{"a", at::randn({3, 2})}, {"b", at::randn({4})}};
  checkpoint.best = {{"a", at::randn({3, 2})}, {"b", at::randn({4})}};
  checkpoint.first_moments = {{"a", at::randn({3, 2})}, {"b", at::randn({4})}};
  checkpoint.second_moments = {{"a", at::randn({3, 2})}, {"b", at::randn({4})}};
  return checkpoint;
}

void ExpectEqual(const NamedTensors& got, const NamedTensors& want) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [name, tensor] : want) EXPECT_TRUE(at::equal(got.at(name), tensor)) << name;
}

TEST(CheckpointTest, ReadsWhatItWrote) {
  const std::filesystem::path folder = testing::FreshFolder("checkpoint");
  const Checkpoint written = Example();
  ASSERT_TRUE(WriteCheckpoint(folder, written).ok());
  const auto read = ReadCheckpoint(folder);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->step, 150);
  EXPECT_EQ(read->total_steps, 500);
  EXPECT_EQ(read->seed, written.seed);
  EXPECT_EQ(read->evaluated_step, 100);
  EXPECT_EQ(read->best_step, 50);
  EXPECT_EQ(read->best_value, written.best_value);
  EXPECT_EQ(read->worse_evaluations, 1);
  EXPECT_EQ(read->trained_tokens, 12345);
  EXPECT_EQ(read->machine, written.machine);
  ExpectEqual(read->weights, written.weights);
  ExpectEqual(read->best, written.best);
  ExpectEqual(read->first_moments, written.first_moments);
  ExpectEqual(read->second_moments, written.second_moments);
}

TEST(CheckpointTest, TheSameStateGivesTheSameBytes) {
  const std::filesystem::path one = testing::FreshFolder("one"), two = testing::FreshFolder("two");
  const Checkpoint checkpoint = Example();
  ASSERT_TRUE(WriteCheckpoint(one, checkpoint).ok());
  ASSERT_TRUE(WriteCheckpoint(two, checkpoint).ok());
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator(one)) {
    EXPECT_EQ(testing::ReadBytes(file.path()), testing::ReadBytes(two / file.path().filename())) << file.path();
    ++files;
  }
  EXPECT_EQ(files, 4);
}

TEST(CheckpointTest, BrokenFoldersAreRefused) {
  const auto spoiled = [](const std::string& name, const std::string& text) {
    const std::filesystem::path folder = testing::FreshFolder("broken");
    EXPECT_TRUE(WriteCheckpoint(folder, Example()).ok());
    std::ofstream(folder / name, std::ios::trunc | std::ios::binary) << text;
    return GetReason(ReadCheckpoint(folder).status());
  };
  EXPECT_EQ(spoiled("state.json", "{"), Reason::kAdapterInvalid);
  EXPECT_EQ(spoiled("state.json", "{}"), Reason::kAdapterInvalid);
  EXPECT_EQ(spoiled("state.json", R"({"format": 2})"), Reason::kAdapterInvalid);
  EXPECT_EQ(spoiled("weights.safetensors", "x"), Reason::kSafetensorsInvalid);
  EXPECT_FALSE(ReadCheckpoint(testing::FreshFolder("empty")).ok());
}

TEST(CheckpointTest, ACheckpointOfAnotherRunIsRefused) {
  const auto base = testing::MakeToyBase();
  TrainOptions options = testing::ToyOptions();
  const testing::ToyRun run = testing::RunToy(base, options, testing::ToyData(40, 8));
  ASSERT_FALSE(run.checkpoints.empty()) << run.status;
  const auto resume = [&](const TrainOptions& other) {
    return GetReason(testing::RunToy(base, other, testing::ToyData(40, 8), run.checkpoints[0]).status);
  };
  TrainOptions seed = options, steps = options, rank = options;
  seed.seed = 1;
  steps.max_steps = 13;
  rank.lora.r = 2;
  EXPECT_EQ(resume(seed), Reason::kAdapterInvalid);
  EXPECT_EQ(resume(steps), Reason::kAdapterInvalid);
  EXPECT_EQ(resume(rank), Reason::kAdapterInvalid);
  EXPECT_EQ(resume(options), Reason::kUnspecified);
}

TEST(CheckpointTest, AnotherMachineIsNoted) {
  const auto base = testing::MakeToyBase();
  const testing::ToyRun run = testing::RunToy(base, testing::ToyOptions(), testing::ToyData(40, 8));
  ASSERT_FALSE(run.checkpoints.empty()) << run.status;
  const auto notice = [&] {
    const auto trainer = Trainer::Create(base, testing::ToyOptions(), testing::ToyData(40, 8), run.checkpoints[0], {});
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    return trainer.ok() ? (*trainer)->notice() : "";
  };
  EXPECT_EQ(notice(), "");
  auto state = ReadCheckpoint(run.checkpoints[0]);
  ASSERT_TRUE(state.ok());
  state->machine.device = "Another CPU";
  ASSERT_TRUE(WriteCheckpoint(run.checkpoints[0], *state).ok());
  EXPECT_NE(notice().find("Another CPU"), std::string::npos);
}

}  // namespace
}  // namespace tenon::engine
