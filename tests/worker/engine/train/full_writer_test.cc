// Method `full` on a base that writes, from its options to a base of its own.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "tests/worker/engine/tiny_t5.h"
#include "tests/worker/engine/train/toy_run.h"
#include "worker/engine/generate/decoder.h"

namespace tenon::engine {
namespace {

using testing::FreshFolder;
using testing::LoadToy;
using testing::MakeToyT5;
using testing::RunToy;
using testing::ToyPairs;
using testing::ToyRun;

TrainOptions FullOptions() { return testing::ForFull(testing::ToyT5Options()); }

class FullWriterTest : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Shapes, FullWriterTest, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "Flan" : "Tied"; });

TEST_P(FullWriterTest, LearnsAndLeavesABaseThatWritesAsItDid) {
  const auto base = MakeToyT5(GetParam());
  TrainOptions options = FullOptions();
  options.max_steps = 200;
  options.eval_steps = 50;
  const ToyRun run = RunToy(base, options, ToyPairs(64, 32));
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.done->trainable_parameters, base->parameters());
  EXPECT_LT(run.Kind("untrained")[0].metrics.at("token_accuracy"), 0.4);
  double best = 0, loss = 0;
  for (const TrainEvaluation& evaluation : run.Kind("validation")) {
    if (!evaluation.best) continue;
    best = evaluation.metrics.at("token_accuracy");
    loss = evaluation.metrics.at("loss");
  }
  EXPECT_GT(best, 0.9);

  const auto made = LoadToy(run.folder);
  ASSERT_NE(made, nullptr);
  EXPECT_TRUE(made->generates());
  EXPECT_EQ(made->parameters(), base->parameters());
  const auto decoder = made->NewDecoder();
  ASSERT_TRUE(decoder.ok()) << decoder.status();
  // The next job on it, of an adapter, begins where this one was best; so does one like itself.
  for (const Method method : {Method::kLora, Method::kFull}) {
    TrainOptions next = testing::ToyT5Options();
    next.method = method;
    next.max_steps = 1;
    const ToyRun second = RunToy(made, next, ToyPairs(8, 32));
    ASSERT_TRUE(second.status.ok()) << second.status;
    EXPECT_NEAR(second.Kind("untrained")[0].metrics.at("loss"), loss, 1e-4 * loss + 1e-6);
    EXPECT_DOUBLE_EQ(second.Kind("untrained")[0].metrics.at("token_accuracy"), best);
  }
}

TEST_P(FullWriterTest, TheFolderIsTheBasesWithOtherWeights) {
  const std::filesystem::path folder = FreshFolder("writer");
  testing::TinyT5 tiny;
  tiny.flan = GetParam();
  testing::WriteTinyT5(folder, tiny);
  std::ofstream(folder / "generation_config.json") << R"({"num_beams": 3,  "max_length": 9})";
  std::ofstream(folder / "notes.txt") << "not a base's file";
  TrainOptions options = FullOptions();
  options.max_steps = 2;
  const ToyRun run = RunToy(LoadToy(folder), options, ToyPairs(16, 0));
  ASSERT_TRUE(run.status.ok()) << run.status;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    EXPECT_EQ(testing::ReadBytes(run.folder / name), testing::ReadBytes(folder / name)) << name;
    EXPECT_FALSE(testing::ReadBytes(run.folder / name).empty()) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(run.folder / "notes.txt"));
  EXPECT_FALSE(std::filesystem::exists(run.folder / "tenon.json"));
  const auto config = nlohmann::json::parse(testing::ReadBytes(run.folder / "config.json"));
  const auto before = nlohmann::json::parse(testing::ReadBytes(folder / "config.json"));
  for (const auto& [key, value] : before.items()) EXPECT_EQ(config[key], value) << key;
  EXPECT_EQ(config.size(), before.size() + 2);
  EXPECT_EQ(config["dtype"], "float32");

  const auto old = formats::Safetensors::OpenModel(folder, {}), made = formats::Safetensors::OpenModel(run.folder, {});
  ASSERT_TRUE(old.ok() && made.ok());
  ASSERT_EQ((*made)->tensors().size(), (*old)->tensors().size());
  for (const auto& [name, view] : (*old)->tensors()) {
    const formats::TensorView* other = (*made)->Find(name);
    ASSERT_NE(other, nullptr) << name;
    EXPECT_EQ(other->shape, view.shape) << name;
    EXPECT_NE(std::memcmp(other->data, view.data, static_cast<size_t>(view.size_bytes)), 0) << name << " is as it was";
  }
}

// config.json says that they differ, and the file has the same numbers twice: they stay one, written twice.
TEST(FullWriterRulesTest, AnOutputLayerThatIsTheEmbeddingStaysIt) {
  const std::filesystem::path folder = FreshFolder("twice");
  testing::WriteTinyT5(folder, {.flan = true});
  const auto file = formats::Safetensors::OpenModel(folder, {});
  ASSERT_TRUE(file.ok());
  std::vector<formats::TensorToWrite> writes;
  for (const auto& [name, view] : (*file)->tensors()) {
    writes.push_back({name, name == "lm_head.weight" ? *(*file)->Find("shared.weight") : view});
  }
  ASSERT_TRUE(formats::WriteSafetensors(folder / "same.safetensors", writes, {{"format", "pt"}}).ok());
  std::filesystem::rename(folder / "same.safetensors", folder / "model.safetensors");
  const auto base = LoadToy(folder);
  ASSERT_NE(base, nullptr);
  TrainOptions options = FullOptions();
  options.max_steps = 2;
  const ToyRun run = RunToy(base, options, ToyPairs(16, 0));
  ASSERT_TRUE(run.status.ok()) << run.status;
  const auto made = formats::Safetensors::OpenModel(run.folder, {});
  ASSERT_TRUE(made.ok());
  const formats::TensorView *output = (*made)->Find("lm_head.weight"), *shared = (*made)->Find("shared.weight");
  ASSERT_TRUE(output != nullptr && shared != nullptr);
  EXPECT_EQ(run.done->trainable_parameters, base->parameters() - shared->size_bytes / 4);
  EXPECT_EQ(std::memcmp(output->data, shared->data, static_cast<size_t>(shared->size_bytes)), 0);
  EXPECT_NE(LoadToy(run.folder), nullptr);
}

TEST(FullWriterRulesTest, WhatItCannotDoIsNamed) {
  const auto base = MakeToyT5();
  TrainOptions options = FullOptions();
  options.precision = Precision::kBf16;
  const ToyRun half = RunToy(base, options, ToyPairs(8, 0));
  EXPECT_EQ(GetReason(half.status), Reason::kOptionInvalid);
  EXPECT_EQ(GetField(half.status), "precision");
  TrainOptions lora = testing::ToyT5Options();
  lora.max_steps = 1;
  const ToyRun adapter = RunToy(base, lora, ToyPairs(8, 0));
  ASSERT_TRUE(adapter.status.ok()) << adapter.status;
  const auto started = Trainer::Create(base, FullOptions(), ToyPairs(8, 0), std::nullopt, adapter.folder);
  EXPECT_EQ(GetReason(started.status()), Reason::kAdapterInvalid);
  EXPECT_EQ(GetField(started.status()), "target_modules");
}

TEST(FullWriterRulesTest, ItsMemoryIsKnownBeforehand) {
  const auto base = MakeToyT5();
  const int64_t weights = 4 * base->parameters();
  EXPECT_GT(weights, 0);
  EXPECT_EQ(Trainer::MemoryBytes(*base, FullOptions(), false), 4 * weights);
  EXPECT_EQ(Trainer::MemoryBytes(*base, FullOptions(), true), 5 * weights);
}

}  // namespace
}  // namespace tenon::engine
