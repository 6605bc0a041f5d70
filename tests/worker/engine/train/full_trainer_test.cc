// Method `full` from its options to a base of its own.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "tests/worker/engine/tiny_base.h"
#include "tests/worker/engine/train/toy_run.h"
#include "worker/engine/infer.h"

namespace tenon::engine {
namespace {

using testing::FreshFolder;
using testing::LoadToy;
using testing::MakeToyBase;
using testing::RunToy;
using testing::ToyData;
using testing::ToyRun;

TrainOptions FullOptions() { return testing::ForFull(testing::ToyOptions()); }

double RightAnswers(const Base& base, const std::vector<LabelledText>& rows) {
  int64_t right = 0;
  for (const LabelledText& row : rows) {
    const std::vector<int32_t> ids = base.tokenizer().Encode(row.text, base.default_max_tokens()).ids;
    const auto logits = Infer(base, {InferRow{.ids = &ids, .output = Output::kLogits}});
    EXPECT_TRUE(logits.ok()) << logits.status();
    right += ((*logits)[0][1] > (*logits)[0][0]) == (row.labels[0] == 1);
  }
  return static_cast<double>(right);
}

TEST(FullTrainerTest, LearnsAndLeavesABaseThatAnswersAsItDid) {
  const auto base = MakeToyBase();
  TrainOptions options = FullOptions();
  options.max_steps = 60;
  options.eval_steps = 20;
  options.head_baseline = true;
  const TrainData data = ToyData(96, 48);
  const ToyRun run = RunToy(base, options, data);
  ASSERT_TRUE(run.status.ok()) << run.status;
  double last = 0;  // of several steps: one batch's loss depends on its masks
  for (auto step = run.progress.end() - 10; step != run.progress.end(); ++step) last += step->loss / 10;
  EXPECT_LT(last, 0.75 * run.progress.front().loss);
  EXPECT_EQ(run.Kind("head_baseline").size(), 1u);
  EXPECT_EQ(run.done->trainable_parameters, base->parameters() + 2 * 32 + 2);
  double best = 0;
  for (const TrainEvaluation& evaluation : run.Kind("validation")) {
    best = std::max(best, evaluation.metrics.at("accuracy"));
  }
  EXPECT_GT(best, 0.9);
  const auto made = LoadToy(run.folder);
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(made->labels(), data.labels);
  EXPECT_DOUBLE_EQ(RightAnswers(*made, data.validation) / 48, best);
  EXPECT_EQ(base->labels().size(), 0u) << "the base itself is as it was";
}

TEST(FullTrainerTest, TheFolderIsTheBasesWithOtherWeightsAndAHead) {
  const std::filesystem::path folder = FreshFolder("sentences");
  testing::WriteTinyBase(folder, {.dropout = 0});
  std::ofstream(folder / "modules.json")
      << R"([{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},)"
      << R"({"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"}])";
  std::filesystem::create_directories(folder / "1_Pooling");
  std::ofstream(folder / "1_Pooling/config.json") << R"({"word_embedding_dimension":32,"pooling_mode_cls_token":true})";
  std::ofstream(folder / "notes.txt") << "not a base's file";
  TrainOptions options = FullOptions();
  options.max_steps = 2;
  const ToyRun run = RunToy(LoadToy(folder), options, ToyData(16, 0));
  ASSERT_TRUE(run.status.ok()) << run.status;
  for (const char* name : {"vocab.txt", "tokenizer_config.json", "modules.json"}) {
    EXPECT_EQ(testing::ReadBytes(run.folder / name), testing::ReadBytes(folder / name)) << name;
    EXPECT_FALSE(testing::ReadBytes(run.folder / name).empty()) << name;
  }
  EXPECT_EQ(testing::ReadBytes(run.folder / "1_Pooling_config.json"),
            testing::ReadBytes(folder / "1_Pooling/config.json"));
  EXPECT_FALSE(std::filesystem::exists(run.folder / "notes.txt"));
  EXPECT_FALSE(std::filesystem::exists(run.folder / "tenon.json"));

  auto config = nlohmann::json::parse(testing::ReadBytes(run.folder / "config.json"));
  EXPECT_EQ(config["architectures"], nlohmann::json({"BertForSequenceClassification"}));
  EXPECT_EQ(config["problem_type"], "single_label_classification");
  EXPECT_EQ(config["id2label"], nlohmann::json({{"0", "label-0"}, {"1", "label-1"}}));
  EXPECT_EQ(config["label2id"], nlohmann::json({{"label-0", 0}, {"label-1", 1}}));
  EXPECT_EQ(config["torch_dtype"], "float32");
  auto before = nlohmann::json::parse(testing::ReadBytes(folder / "config.json"));
  before.erase("architectures");
  for (const auto& [key, value] : before.items()) EXPECT_EQ(config[key], value) << key;
  EXPECT_EQ(LoadToy(run.folder)->sentence().pooling, formats::Pooling::kCls);
}

TEST(FullTrainerTest, ABasesOwnHeadIsReplaced) {
  const std::filesystem::path folder = FreshFolder("classifier");
  testing::WriteTinyBase(folder, {.labels = {"x", "y", "z"}});
  TrainOptions options = FullOptions();
  options.max_steps = 2;
  const ToyRun run = RunToy(LoadToy(folder), options, ToyData(16, 0));
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(LoadToy(run.folder)->labels(), (std::vector<std::string>{"label-0", "label-1"}));
  const auto weights = formats::Safetensors::OpenModel(run.folder, {});
  ASSERT_TRUE(weights.ok());
  EXPECT_EQ((*weights)->Find("classifier.weight")->shape, (std::vector<int64_t>{2, 32}));
  EXPECT_NE((*weights)->Find("bert.encoder.layer.1.output.LayerNorm.bias"), nullptr);
}

TEST(FullTrainerTest, WhatItMakesIsABaseForAdaptersAndForItself) {
  TrainOptions options = FullOptions();
  options.max_steps = 2;
  const ToyRun first = RunToy(MakeToyBase(), options, ToyData(16, 0));
  ASSERT_TRUE(first.status.ok()) << first.status;
  const auto made = LoadToy(first.folder);
  ASSERT_NE(made, nullptr);
  TrainOptions lora = testing::ToyOptions();
  lora.max_steps = 2;
  EXPECT_TRUE(RunToy(made, lora, ToyData(16, 4)).status.ok());
  const ToyRun second = RunToy(made, options, ToyData(16, 0, 3));
  ASSERT_TRUE(second.status.ok()) << second.status;
  EXPECT_EQ(LoadToy(second.folder)->labels().size(), 3u);
}

TEST(FullTrainerTest, SeveralLabelsOrOneThatMayBeOff) {
  for (const int64_t labels : {3, 1}) {
    TrainData data = ToyData(30, 0, labels);
    data.multi_label = true;
    data.train[1].labels = {};
    TrainOptions options = FullOptions();
    options.max_steps = 2;
    const ToyRun run = RunToy(MakeToyBase(), options, data);
    ASSERT_TRUE(run.status.ok()) << run.status;
    const auto made = LoadToy(run.folder);
    ASSERT_NE(made, nullptr);
    EXPECT_EQ(made->labels(), data.labels);
    EXPECT_TRUE(made->config().multi_label);
  }
}

TEST(FullTrainerTest, SameSeedSameBytes) {
  const auto base = MakeToyBase();
  TrainOptions options = FullOptions();
  options.max_steps = 6;
  const ToyRun one = RunToy(base, options, ToyData(40, 16));
  EXPECT_FALSE(one.weights.empty());
  EXPECT_EQ(RunToy(base, options, ToyData(40, 16)).weights, one.weights);
  options.seed = 1;
  EXPECT_NE(RunToy(base, options, ToyData(40, 16)).weights, one.weights);
}

TEST(FullTrainerTest, TheBestWeightsAreWritten) {
  const auto base = MakeToyBase();
  TrainOptions options = FullOptions();
  options.metric_for_best = "loss";
  options.eval_steps = 1;
  options.learning_rate = 5e-2;  // jumps about
  options.schedule = Schedule::kConstant;
  options.max_steps = 12;
  const ToyRun run = RunToy(base, options, ToyData(40, 16));
  ASSERT_TRUE(run.status.ok()) << run.status;
  ASSERT_LT(run.done->best_step, 12);
  options.max_steps = run.done->best_step;
  EXPECT_EQ(RunToy(base, options, ToyData(40, 16)).weights, run.weights);
}

TEST(FullTrainerTest, HalfPrecisionIsRefusedByName) {
  TrainOptions options = FullOptions();
  options.precision = Precision::kBf16;
  const ToyRun run = RunToy(MakeToyBase(), options, ToyData(8, 0));
  EXPECT_EQ(GetReason(run.status), Reason::kOptionInvalid);
  EXPECT_EQ(GetField(run.status), "precision");
}

TEST(FullTrainerTest, AnAdapterIsNoHeadToBeginWith) {
  const auto base = MakeToyBase();
  TrainOptions lora = testing::ToyOptions(), head = testing::ToyOptions();
  lora.max_steps = head.max_steps = 2;
  head.method = Method::kHead;
  const ToyRun adapter = RunToy(base, lora, ToyData(16, 0)), probe = RunToy(base, head, ToyData(16, 0));
  ASSERT_TRUE(adapter.status.ok() && probe.status.ok()) << adapter.status << probe.status;
  const auto start = [&](const ToyRun& from) {
    return Trainer::Create(base, FullOptions(), ToyData(16, 0), std::nullopt, from.folder).status();
  };
  EXPECT_TRUE(start(probe).ok()) << start(probe);
  EXPECT_EQ(GetField(start(adapter)), "target_modules");
}

TEST(FullTrainerTest, ItsMemoryIsKnownBeforehand) {
  const auto base = MakeToyBase();
  const int64_t weights = 4 * base->parameters();
  EXPECT_EQ(Trainer::MemoryBytes(*base, FullOptions(), false), 4 * weights);
  EXPECT_EQ(Trainer::MemoryBytes(*base, FullOptions(), true), 5 * weights);
  EXPECT_EQ(Trainer::MemoryBytes(*base, testing::ToyOptions(), true), 0);
}

}  // namespace
}  // namespace tenon::engine
