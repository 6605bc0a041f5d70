#include "worker/engine/train/trainer.h"

#include <gtest/gtest.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "tests/worker/engine/tiny_base.h"
#include "tests/worker/engine/train/resume_check.h"
#include "tests/worker/engine/train/toy_run.h"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/infer.h"

namespace tenon::engine {
namespace {

using testing::FreshFolder;
using testing::MakeToyBase;
using testing::RunToy;
using testing::ToyData;
using testing::ToyOptions;
using testing::ToyRun;

// Rows whose served label is their own.
double RightAnswers(const Base& base, const std::shared_ptr<const HostAdapter>& host,
                    const std::vector<LabelledText>& rows) {
  const auto device = DeviceAdapter::Place(host, base);
  EXPECT_TRUE(device.ok()) << device.status();
  int64_t right = 0;
  for (const LabelledText& row : rows) {
    const std::vector<int32_t> ids = base.tokenizer().Encode(row.text, MaxInputTokens(base, host.get())).ids;
    const InferRow infer{.ids = &ids, .adapter = device->get(), .output = Output::kLogits};
    const auto logits = Infer(base, {infer});
    EXPECT_TRUE(logits.ok()) << logits.status();
    right += ((*logits)[0][1] > (*logits)[0][0]) == (row.labels[0] == 1);
  }
  return static_cast<double>(right);
}

TEST(TrainerTest, LearnsTheToyTask) {
  TrainOptions options = ToyOptions();
  options.max_steps = 120;
  options.eval_steps = 40;
  options.head_baseline = true;
  const ToyRun run = RunToy(MakeToyBase(), options, ToyData(96, 48));
  ASSERT_TRUE(run.status.ok()) << run.status;
  ASSERT_EQ(run.progress.size(), 120u);
  EXPECT_EQ(run.progress.front().step, 1);
  EXPECT_EQ(run.progress.front().examples, 8);
  EXPECT_EQ(run.progress.back().total_steps, 120);
  EXPECT_LT(run.progress.back().loss, 0.5 * run.progress.front().loss);
  ASSERT_EQ(run.Kind("untrained").size(), 1u);
  ASSERT_EQ(run.Kind("head_baseline").size(), 1u);
  ASSERT_EQ(run.Kind("validation").size(), 3u);
  EXPECT_LT(run.Kind("untrained")[0].metrics.at("accuracy"), 0.7);
  EXPECT_GT(run.Kind("validation").back().metrics.at("accuracy"), 0.9);
  EXPECT_EQ(run.done->total_steps, 120);
  // 3 layers, query and value, r 4 on 32 -> 32, and the head.
  EXPECT_EQ(run.done->trainable_parameters, 3 * 2 * 4 * 64 + 2 * 32 + 2);
  int64_t tokens = 0;
  for (const TrainProgress& progress : run.progress) tokens += progress.tokens;
  EXPECT_EQ(run.done->trained_tokens, tokens);
}

TEST(TrainerTest, SameSeedSameBytesOtherSeedOtherBytes) {
  const auto base = MakeToyBase();
  TrainOptions options = ToyOptions();
  const ToyRun one = RunToy(base, options, ToyData(40, 16)), two = RunToy(base, options, ToyData(40, 16));
  ASSERT_TRUE(one.status.ok()) << one.status;
  EXPECT_EQ(one.weights, two.weights);
  EXPECT_EQ(testing::ReadBytes(one.folder / "tenon.json"), testing::ReadBytes(two.folder / "tenon.json"));
  options.seed = 43;
  EXPECT_NE(RunToy(base, options, ToyData(40, 16)).weights, one.weights);
}

class ResumeTest : public ::testing::TestWithParam<Method> {};

TEST_P(ResumeTest, EveryCheckpointGoesOnToTheSameBytes) {
  TrainOptions options = ToyOptions();
  options.method = GetParam();
  testing::ExpectEveryCheckpointGoesOn(MakeToyBase(), options, ToyData(37, 16));
}

INSTANTIATE_TEST_SUITE_P(Methods, ResumeTest,
                         ::testing::Values(Method::kLora, Method::kHead, Method::kPromptTuning, Method::kBottleneck,
                                           Method::kFull),
                         [](const auto& test) { return "Method" + std::to_string(static_cast<int>(test.param)); });

TEST(TrainerTest, APromptLearnsAndServesTheSameClasses) {
  const auto base = MakeToyBase();
  TrainOptions options = ToyOptions();
  options.method = Method::kPromptTuning;
  options.prompt.num_virtual_tokens = 8;
  options.prompt.init = formats::PromptInit::kText;
  options.prompt.init_text = "great awful tea";
  options.learning_rate = 3e-2;
  options.max_steps = 150;
  options.eval_steps = 0;
  const TrainData data = ToyData(96, 48);
  const ToyRun run = RunToy(base, options, data);
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_GT(run.Kind("validation").back().metrics.at("accuracy"), 0.85);
  EXPECT_EQ(run.done->trainable_parameters, 8 * 32 + 2 * 32 + 2);
  const auto host = HostAdapter::Load(run.folder, *base);
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_EQ((*host)->config().method, "prompt_tuning");
  EXPECT_EQ((*host)->config().max_input_tokens, 64 - 8);  // the prompt takes its positions from the text
  EXPECT_EQ(RightAnswers(*base, *host, data.validation), run.Kind("validation").back().metrics.at("accuracy") * 48);
  // It starts from where another ended.
  options.max_steps = 1;
  auto again = Trainer::Create(base, options, data, std::nullopt, run.folder);
  ASSERT_TRUE(again.ok()) << again.status();
  options.prompt.num_virtual_tokens = 9;
  EXPECT_EQ(GetField(Trainer::Create(base, options, data, std::nullopt, run.folder).status()), "prompt_embeddings");
}

TEST(TrainerTest, ABottleneckLearnsAndServesTheSameClasses) {
  const auto base = MakeToyBase();
  const TrainData data = ToyData(96, 48);
  for (const auto layout : {formats::BottleneckLayout::kSeqBn, formats::BottleneckLayout::kDoubleSeqBn,
                            formats::BottleneckLayout::kParBn}) {
    TrainOptions options = ToyOptions();
    options.method = Method::kBottleneck;
    options.bottleneck = formats::LayoutConfig(layout);
    options.bottleneck.reduction_factor = 4;
    options.max_steps = 150;
    options.eval_steps = 0;
    const ToyRun run = RunToy(base, options, data);
    ASSERT_TRUE(run.status.ok()) << run.status;
    EXPECT_GT(run.Kind("validation").back().metrics.at("accuracy"), 0.85);
    const int64_t blocks = layout == formats::BottleneckLayout::kDoubleSeqBn ? 6 : 3;
    EXPECT_EQ(run.done->trainable_parameters, blocks * (2 * 8 * 32 + 8 + 32) + 2 * 32 + 2);
    const auto host = HostAdapter::Load(run.folder, *base);
    ASSERT_TRUE(host.ok()) << host.status();
    EXPECT_EQ((*host)->config().method, "bottleneck");
    EXPECT_EQ(RightAnswers(*base, *host, data.validation), run.Kind("validation").back().metrics.at("accuracy") * 48);
    options.max_steps = 1;
    EXPECT_TRUE(Trainer::Create(base, options, data, std::nullopt, run.folder).ok());
    options.bottleneck.reduction_factor = 2;
    EXPECT_EQ(GetReason(Trainer::Create(base, options, data, std::nullopt, run.folder).status()),
              Reason::kAdapterInvalid);
  }
}

TEST(TrainerTest, APromptThatLeavesNoRoomIsNamed) {
  const auto base = MakeToyBase();
  const auto field = [&](int64_t virtual_tokens, int64_t max_input_tokens) {
    TrainOptions options = ToyOptions();
    options.method = Method::kPromptTuning;
    options.prompt.num_virtual_tokens = virtual_tokens;
    options.max_input_tokens = max_input_tokens;
    return GetField(Trainer::Create(base, options, ToyData(8, 0), std::nullopt, std::nullopt).status());
  };
  EXPECT_EQ(field(61, 0), "");
  EXPECT_EQ(field(62, 0), "num_virtual_tokens");
  EXPECT_EQ(field(20, 44), "");
  EXPECT_EQ(field(20, 45), "max_input_tokens");
  EXPECT_EQ(field(0, 0), "num_virtual_tokens");
}

TEST(TrainerTest, InferenceBetweenSlicesChangesNothing) {
  const auto base = MakeToyBase();
  const ToyRun alone = RunToy(base, ToyOptions(), ToyData(40, 16));
  const std::vector<int32_t> ids = base->tokenizer().Encode("good tea today", 32).ids;
  const ToyRun busy = RunToy(base, ToyOptions(), ToyData(40, 16), std::nullopt, [&] {
    const std::vector<InferRow> rows(3, InferRow{.ids = &ids});
    ASSERT_TRUE(Infer(*base, rows).ok());
  });
  ASSERT_TRUE(busy.status.ok()) << busy.status;
  EXPECT_EQ(busy.weights, alone.weights);
}

TEST(TrainerTest, EvaluationDoesNotDisturbTraining) {
  const auto base = MakeToyBase();
  TrainOptions options = ToyOptions();
  TrainData data = ToyData(40, 0);
  const ToyRun without = RunToy(base, options, data);
  data.validation = ToyData(0, 16).validation;
  options.head_baseline = true;
  options.metric_for_best = "loss";
  const ToyRun with = RunToy(base, options, data);
  ASSERT_TRUE(without.status.ok() && with.status.ok()) << without.status << with.status;
  EXPECT_TRUE(without.evaluations.empty());
  for (size_t i = 0; i < with.progress.size(); ++i) EXPECT_EQ(with.progress[i].loss, without.progress[i].loss) << i;
}

TEST(TrainerTest, TheBestCheckpointIsExported) {
  const auto base = MakeToyBase();
  TrainOptions options = ToyOptions();
  options.metric_for_best = "loss";
  options.eval_steps = 2;
  options.learning_rate = 0.2;  // jumps about, so that the last is hardly the best
  options.schedule = Schedule::kConstant;
  options.max_steps = 20;
  const ToyRun run = RunToy(base, options, ToyData(40, 16));
  ASSERT_TRUE(run.status.ok()) << run.status;
  int64_t best_step = 0;
  double best = 1e9;
  for (const TrainEvaluation& evaluation : run.Kind("validation")) {
    const double loss = evaluation.metrics.at("loss");
    EXPECT_EQ(evaluation.best, loss < best);
    if (loss < best) {
      best = loss;
      best_step = evaluation.step;
    }
  }
  EXPECT_EQ(run.done->best_step, best_step);
  ASSERT_LT(best_step, 20);
  // A run that ends at that step exports the same weights.
  options.max_steps = best_step;
  options.eval_steps = 0;
  EXPECT_EQ(RunToy(base, options, ToyData(40, 16)).weights, run.weights);
}

TEST(TrainerTest, StopsEarly) {
  TrainOptions options = ToyOptions();
  options.max_steps = 200;
  options.eval_steps = 2;
  options.early_stopping_patience = 2;
  options.learning_rate = 1e-12;  // never better
  const ToyRun run = RunToy(MakeToyBase(), options, ToyData(40, 16));
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_TRUE(run.done->stopped_early);
  EXPECT_EQ(run.done->total_steps, 6);  // the first evaluation is the best, then two that are not
  EXPECT_EQ(run.done->best_step, 2);
}

TEST(TrainerTest, AnEvaluationThatIsNotANumberFailsWithItsStep) {
  TrainOptions options = ToyOptions();
  options.max_steps = 1;  // no later step's loss would tell
  options.warmup_steps = 0;
  options.learning_rate = 1e30;
  options.schedule = Schedule::kConstant;
  const ToyRun run = RunToy(MakeToyBase(), options, ToyData(8, 8));
  EXPECT_EQ(GetReason(run.status), Reason::kLossNotFinite) << run.status;
  EXPECT_NE(std::string(run.status.message()).find("step 1: the validation loss"), std::string::npos) << run.status;
}

TEST(TrainerTest, SavedModulesAreExportedAndServed) {
  const auto base = MakeToyBase(0);
  TrainOptions options = ToyOptions();
  options.max_steps = 6;
  options.lora.modules_to_save = {"pooler.dense", "layer.1.intermediate.dense"};
  const ToyRun run = RunToy(base, options, ToyData(24, 8));
  ASSERT_TRUE(run.status.ok()) << run.status;
  const auto host = HostAdapter::Load(run.folder, *base);
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_EQ((*host)->tensors().modules.size(), 3u);
  EXPECT_EQ((*host)->tensors().Parameters(), run.done->trainable_parameters);
  EXPECT_TRUE(DeviceAdapter::Place(*host, *base).ok());
}

TEST(TrainerTest, LossThatIsNotANumberFailsWithItsStep) {
  TrainOptions options = ToyOptions();
  options.learning_rate = 1e30;
  options.schedule = Schedule::kConstant;
  options.max_grad_norm = 0;
  const ToyRun run = RunToy(MakeToyBase(), options, ToyData(40, 0));
  EXPECT_EQ(GetReason(run.status), Reason::kLossNotFinite) << run.status;
  EXPECT_NE(std::string(run.status.message())
                .find(absl::StrCat("step ", run.progress.empty() ? 1 : run.progress.back().step + 1)),
            std::string::npos)
      << run.status;
}

TEST(TrainerTest, WrongInputIsNamed) {
  const auto base = MakeToyBase();
  const auto field = [&](const std::function<void(TrainOptions&, TrainData&)>& spoil) {
    TrainOptions options = ToyOptions();
    TrainData data = ToyData(8, 4);
    spoil(options, data);
    return GetField(RunToy(base, options, data).status);
  };
  EXPECT_EQ(field([](auto& options, auto&) { options.lora.r = 0; }), "r");
  EXPECT_EQ(field([](auto& options, auto&) { options.learning_rate = -1; }), "learning_rate");
  EXPECT_EQ(field([](auto& options, auto&) { options.learning_rate = 1e39; }), "learning_rate");  // no fp32 number
  EXPECT_EQ(field([](auto& options, auto&) { options.weight_decay = 1e39; }), "weight_decay");
  EXPECT_EQ(field([](auto& options, auto&) { options.lora.alpha = 1e39; }), "alpha");
  EXPECT_EQ(field([](auto& options, auto&) { options.lora.rank_pattern["(query"] = 2; }), "rank_pattern");
  EXPECT_EQ(field([](auto& options, auto&) { options.max_input_tokens = 65; }), "max_input_tokens");
  EXPECT_EQ(field([](auto& options, auto&) { options.lora.target_modules = {"q_lin"}; }), "target_modules");
  EXPECT_EQ(field([](auto& options, auto&) { options.lora.modules_to_save = {"embeddings"}; }), "modules_to_save");
  EXPECT_EQ(field([](auto&, auto& data) { data.train[3].labels = {2}; }), "train row 4");
  EXPECT_EQ(field([](auto&, auto& data) { data.validation[0].labels = {}; }), "validation row 1");
  EXPECT_EQ(field([](auto&, auto& data) { data.train.clear(); }), "train");
  EXPECT_EQ(field([](auto&, auto& data) { data.labels = {"one"}; }), "label");
}

TEST(TrainerTest, ExportedAdapterServesTheSameClasses) {
  const auto base = MakeToyBase();
  TrainOptions options = ToyOptions();
  options.max_steps = 120;
  options.eval_steps = 0;
  const TrainData data = ToyData(96, 48);
  const ToyRun run = RunToy(base, options, data);
  ASSERT_TRUE(run.status.ok()) << run.status;
  const auto host = HostAdapter::Load(run.folder, *base);
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_EQ((*host)->config().labels, data.labels);
  EXPECT_EQ((*host)->config().job, "finetuneJobs/toy");
  EXPECT_EQ((*host)->config().base_digest, base->digest());
  EXPECT_DOUBLE_EQ(RightAnswers(*base, *host, data.validation) / 48,
                   run.Kind("validation").back().metrics.at("accuracy"));
}

TEST(TrainerTest, InitialAdapterIsWhereItStarts) {
  const auto base = MakeToyBase(0);
  TrainOptions options = ToyOptions();
  options.max_steps = 60;
  const ToyRun first = RunToy(base, options, ToyData(96, 48));
  ASSERT_TRUE(first.status.ok()) << first.status;
  auto trainer = Trainer::Create(base, options, ToyData(96, 48), std::nullopt, first.folder);
  ASSERT_TRUE(trainer.ok()) << trainer.status();
  for (;;) {
    const auto update = (*trainer)->RunSlice();
    ASSERT_TRUE(update.ok()) << update.status();
    if (!update->has_value()) continue;
    const auto& untrained = std::get<TrainEvaluation>(**update);
    EXPECT_EQ(untrained.kind, "untrained");
    const auto evaluations = first.Kind("validation");
    const auto best = std::find_if(evaluations.rbegin(), evaluations.rend(), [](const auto& e) { return e.best; });
    EXPECT_NEAR(untrained.metrics.at("loss"), best->metrics.at("loss"), 1e-5);
    break;
  }
  options.lora.r = 2;
  EXPECT_EQ(GetReason(Trainer::Create(base, options, ToyData(96, 48), std::nullopt, first.folder).status()),
            Reason::kAdapterInvalid);
}

// The toy task's label as a number, and a text's deciding word in the second text of every other row.
TrainData ToyNumbers(int64_t train_rows, int64_t validation_rows) {
  TrainData data = ToyData(train_rows, validation_rows);
  data.regression = true;
  data.labels = {"LABEL_0"};
  for (auto* rows : {&data.train, &data.validation}) {
    for (size_t i = 0; i < rows->size(); ++i) {
      LabelledText& row = (*rows)[i];
      row.values = {static_cast<float>(row.labels[0]) * 2 - 0.5f};
      row.labels.clear();
      if (i % 2 == 0) row.text_pair = std::exchange(row.text, "my your his");
    }
  }
  return data;
}

TEST(TrainerTest, NumbersAreLearntOfPairsAndServed) {
  const auto base = MakeToyBase();
  for (const Method method : {Method::kLora, Method::kHead, Method::kPromptTuning, Method::kBottleneck}) {
    TrainOptions options = ToyOptions();
    options.method = method;
    options.max_steps = 120;
    options.eval_steps = 40;
    const TrainData data = ToyNumbers(96, 48);
    const ToyRun run = RunToy(base, options, data);
    ASSERT_TRUE(run.status.ok()) << run.status;
    const auto& last = run.Kind("validation").back().metrics;
    EXPECT_LT(last.at("loss"), run.Kind("untrained")[0].metrics.at("loss"));
    EXPECT_GT(last.at("pearson"), 0.3) << static_cast<int>(method);
    EXPECT_EQ(last.count("accuracy"), 0u);
    const auto host = HostAdapter::Load(run.folder, *base);
    ASSERT_TRUE(host.ok()) << host.status();
    EXPECT_TRUE((*host)->config().regression);
  }
}

TEST(TrainerTest, ARowWithoutItsNumberIsNamed) {
  TrainData data = ToyNumbers(20, 8);
  data.validation[3].values = {1, 2};
  const ToyRun run = RunToy(MakeToyBase(), ToyOptions(), data);
  EXPECT_EQ(GetReason(run.status), Reason::kDatasetInvalid) << run.status;
  EXPECT_EQ(GetField(run.status), "validation row 4");
  TrainOptions options = ToyOptions();
  options.metric_for_best = "accuracy";
  EXPECT_EQ(GetField(RunToy(MakeToyBase(), options, ToyNumbers(20, 8)).status), "metric_for_best");
}

TEST(TrainerTest, MultiLabel) {
  TrainData data = ToyData(60, 30, 3);
  data.multi_label = true;
  for (auto* rows : {&data.train, &data.validation}) {
    for (size_t i = 0; i < rows->size(); i += 5) {
      (*rows)[i].text += " awful planet";
      (*rows)[i].labels = {0, 1, 2};
    }
    (*rows)[1] = {"my your his", {}};
  }
  TrainOptions options = ToyOptions();
  options.max_steps = 200;
  options.eval_steps = 200;
  options.head_baseline = true;
  const ToyRun run = RunToy(MakeToyBase(), options, data);
  ASSERT_TRUE(run.status.ok()) << run.status;
  double last = 0;  // of many steps: one batch's loss depends on its masks
  for (auto step = run.progress.end() - 20; step != run.progress.end(); ++step) last += step->loss / 20;
  EXPECT_LT(last, 0.65 * run.progress.front().loss);
  EXPECT_GT(run.Kind("validation").back().metrics.at("macro_f1"), run.Kind("untrained")[0].metrics.at("macro_f1"));
}

TEST(TrainerTest, Bf16LearnsAsWell) {
  TrainOptions options = ToyOptions();
  options.precision = Precision::kBf16;
  options.max_steps = 120;
  options.eval_steps = 60;
  const ToyRun run = RunToy(MakeToyBase(), options, ToyData(96, 48));
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_GT(run.Kind("validation").back().metrics.at("accuracy"), 0.9);
}

}  // namespace
}  // namespace tenon::engine
