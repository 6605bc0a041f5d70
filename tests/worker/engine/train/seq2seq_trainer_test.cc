// Whole runs on a base that writes.
#include <gtest/gtest.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "tests/worker/engine/train/resume_check.h"
#include "tests/worker/engine/train/toy_run.h"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/generate/decoder.h"
#include "worker/engine/train/pairs.h"
#include "worker/engine/train/trainer.h"

namespace tenon::engine {
namespace {

using testing::MakeToyT5;
using testing::RunToy;
using testing::ToyPairs;
using testing::ToyRun;
using testing::ToyT5Options;

TEST(Seq2SeqTrainerTest, LearnsTheToyTask) {
  TrainOptions options = ToyT5Options();
  options.lora.all_linear = true;
  options.lora.target_modules.clear();
  options.lora.r = 8;
  options.lora.alpha = 16;
  options.max_steps = 150;
  options.eval_steps = 50;
  options.head_baseline = true;  // means nothing here
  const ToyRun run = RunToy(MakeToyT5(), options, ToyPairs(64, 32));
  ASSERT_TRUE(run.status.ok()) << run.status;
  ASSERT_EQ(run.progress.size(), 150u);
  EXPECT_EQ(run.progress.front().examples, 8);
  EXPECT_LT(run.progress.back().loss, 0.3 * run.progress.front().loss);
  ASSERT_EQ(run.Kind("untrained").size(), 1u);
  EXPECT_TRUE(run.Kind("head_baseline").empty());
  ASSERT_EQ(run.Kind("validation").size(), 3u);
  EXPECT_EQ(run.Kind("untrained")[0].metrics.size(), 2u);
  EXPECT_LT(run.Kind("untrained")[0].metrics.at("token_accuracy"), 0.4);
  EXPECT_GT(run.Kind("validation").back().metrics.at("token_accuracy"), 0.9);
  EXPECT_LT(run.Kind("validation").back().metrics.at("loss"), 0.5);
  int64_t tokens = 0;
  for (const TrainProgress& progress : run.progress) tokens += progress.tokens;
  EXPECT_EQ(run.done->trained_tokens, tokens);
}

TEST(Seq2SeqTrainerTest, TheTiedFormInBf16LearnsAsWell) {
  TrainOptions options = ToyT5Options();
  options.lora.target_modules = {"q", "k", "v", "o", "wi", "wo"};
  options.lora.r = 8;
  options.lora.alpha = 16;
  options.precision = Precision::kBf16;
  options.max_steps = 150;
  options.eval_steps = 0;
  const ToyRun run = RunToy(MakeToyT5(/*flan=*/false), options, ToyPairs(64, 32));
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_LT(run.Kind("validation").back().metrics.at("loss"), 0.5 * run.Kind("untrained")[0].metrics.at("loss"));
}

TEST(Seq2SeqTrainerTest, SameSeedSameBytesOtherSeedOtherBytes) {
  const auto base = MakeToyT5();
  TrainOptions options = ToyT5Options();
  const ToyRun one = RunToy(base, options, ToyPairs(40, 16)), two = RunToy(base, options, ToyPairs(40, 16));
  ASSERT_TRUE(one.status.ok()) << one.status;
  EXPECT_EQ(one.weights, two.weights);
  EXPECT_EQ(testing::ReadBytes(one.folder / "tenon.json"), testing::ReadBytes(two.folder / "tenon.json"));
  options.seed = 43;
  EXPECT_NE(RunToy(base, options, ToyPairs(40, 16)).weights, one.weights);
}

struct ResumeCase {
  Method method;
  Precision precision;
};
class Seq2SeqResumeTest : public ::testing::TestWithParam<ResumeCase> {};

TEST_P(Seq2SeqResumeTest, EveryCheckpointGoesOnToTheSameBytes) {
  TrainOptions options = ToyT5Options();
  options.method = GetParam().method;
  options.precision = GetParam().precision;
  testing::ExpectEveryCheckpointGoesOn(MakeToyT5(), options, ToyPairs(37, 16));
}

INSTANTIATE_TEST_SUITE_P(Cases, Seq2SeqResumeTest,
                         ::testing::Values(ResumeCase{Method::kLora, Precision::kFp32},
                                           ResumeCase{Method::kLora, Precision::kBf16},
                                           ResumeCase{Method::kPromptTuning, Precision::kFp32},
                                           ResumeCase{Method::kBottleneck, Precision::kFp32},
                                           ResumeCase{Method::kFull, Precision::kFp32}),
                         [](const auto& test) { return "Case" + std::to_string(test.index); });

TEST(Seq2SeqTrainerTest, APromptAndABottleneckAreTrainedAndServed) {
  const auto base = MakeToyT5();
  for (const Method method : {Method::kPromptTuning, Method::kBottleneck}) {
    TrainOptions options = ToyT5Options();
    options.method = method;
    options.prompt.num_virtual_tokens = 6;
    options.prompt.init = formats::PromptInit::kText;
    options.prompt.init_text = "up or down";
    options.bottleneck.reduction_factor = 4;
    options.learning_rate = method == Method::kPromptTuning ? 3e-2 : 1e-2;
    options.max_steps = 100;
    options.eval_steps = 0;
    const ToyRun run = RunToy(base, options, ToyPairs(64, 32));
    ASSERT_TRUE(run.status.ok()) << run.status;
    EXPECT_LT(run.Kind("validation")[0].metrics.at("loss"), 0.9 * run.Kind("untrained")[0].metrics.at("loss"));
    const auto host = HostAdapter::Load(run.folder, *base);
    ASSERT_TRUE(host.ok()) << host.status();
    EXPECT_EQ((*host)->config().task, "seq2seq");
    EXPECT_EQ((*host)->tensors().Parameters(), run.done->trainable_parameters);
    options.max_steps = 1;
    EXPECT_TRUE(Trainer::Create(base, options, ToyPairs(8, 0), std::nullopt, run.folder).ok());
  }
}

// 12 rows by 3 in 4 micro-batches, or all in one.
TEST(Seq2SeqTrainerTest, AccumulatedMicroBatchesAreOneBatch) {
  const auto base = MakeToyT5();
  TrainOptions options = ToyT5Options();
  options.lora.dropout = options.base_dropout = 0;
  options.shuffle = false;
  options.max_steps = 6;
  options.batch_size = 12;
  const ToyRun large = RunToy(base, options, ToyPairs(24, 0));
  options.batch_size = 3;
  options.gradient_accumulation_steps = 4;
  const ToyRun parts = RunToy(base, options, ToyPairs(24, 0));
  ASSERT_TRUE(large.status.ok() && parts.status.ok()) << large.status << parts.status;
  ASSERT_EQ(large.progress.size(), parts.progress.size());
  for (size_t i = 0; i < large.progress.size(); ++i) {
    EXPECT_EQ(large.progress[i].examples, 12);
    EXPECT_EQ(parts.progress[i].tokens, large.progress[i].tokens);
    EXPECT_NEAR(parts.progress[i].loss, large.progress[i].loss, 1e-4 * large.progress[i].loss) << i;
  }
}

TEST(Seq2SeqTrainerTest, DecodingBetweenSlicesChangesNothing) {
  const auto base = MakeToyT5();
  const ToyRun alone = RunToy(base, ToyT5Options(), ToyPairs(40, 16));
  const std::vector<int32_t> ids = base->tokenizer().Encode("quiet", 32).ids;
  const ToyRun busy = RunToy(base, ToyT5Options(), ToyPairs(40, 16), std::nullopt, [&] {
    const auto decoder = base->NewDecoder();
    ASSERT_TRUE(decoder.ok());
    ASSERT_TRUE((*decoder)->Join({DecoderSource{.ids = &ids}}).ok());
    (*decoder)->Step({0});
  });
  ASSERT_TRUE(busy.status.ok()) << busy.status;
  EXPECT_EQ(busy.weights, alone.weights);
}

TEST(Seq2SeqTrainerTest, TheBestByTokenAccuracyIsExported) {
  const auto base = MakeToyT5();
  TrainOptions options = ToyT5Options();
  options.metric_for_best = "token_accuracy";
  options.eval_steps = 2;
  options.learning_rate = 0.1;  // jumps about
  options.schedule = Schedule::kConstant;
  options.max_steps = 16;
  const ToyRun run = RunToy(base, options, ToyPairs(40, 16));
  ASSERT_TRUE(run.status.ok()) << run.status;
  int64_t best_step = 0;
  double best = -1;
  for (const TrainEvaluation& evaluation : run.Kind("validation")) {
    const double accuracy = evaluation.metrics.at("token_accuracy");
    EXPECT_EQ(evaluation.best, accuracy > best);
    if (accuracy > best) {
      best = accuracy;
      best_step = evaluation.step;
    }
  }
  EXPECT_EQ(run.done->best_step, best_step);
}

TEST(Seq2SeqTrainerTest, WhatIsExportedIsServedAndStartedFrom) {
  const auto base = MakeToyT5();
  TrainOptions options = ToyT5Options();
  options.base_dropout = options.lora.dropout = 0;
  options.lora.modules_to_save = {"encoder.block.1.layer.0.SelfAttention.o"};
  options.max_input_tokens = 40;
  const ToyRun run = RunToy(base, options, ToyPairs(40, 16));
  ASSERT_TRUE(run.status.ok()) << run.status;
  const auto host = HostAdapter::Load(run.folder, *base);
  ASSERT_TRUE(host.ok()) << host.status();
  const formats::TenonConfig& config = (*host)->config();
  EXPECT_EQ(config.task, "seq2seq");
  EXPECT_EQ(config.method, "lora");
  EXPECT_TRUE(config.labels.empty());
  EXPECT_EQ(config.base_digest, base->digest());
  EXPECT_EQ(config.max_input_tokens, 40);
  EXPECT_EQ(config.job, "finetuneJobs/toy");
  EXPECT_EQ((*host)->tensors().lora.task_type, "SEQ_2_SEQ_LM");
  EXPECT_EQ((*host)->tensors().Parameters(), run.done->trainable_parameters);
  EXPECT_EQ((*host)->tensors().modules.size(), 1u);
  EXPECT_TRUE(DeviceAdapter::Place(*host, *base).ok());
  // A run from there begins where that one ended.
  auto trainer = Trainer::Create(base, options, ToyPairs(40, 16), std::nullopt, run.folder);
  ASSERT_TRUE(trainer.ok()) << trainer.status();
  for (;;) {
    const auto update = (*trainer)->RunSlice();
    ASSERT_TRUE(update.ok()) << update.status();
    if (!update->has_value()) continue;
    const auto& untrained = std::get<TrainEvaluation>(**update);
    const auto evaluations = run.Kind("validation");
    const auto best = std::find_if(evaluations.rbegin(), evaluations.rend(), [](const auto& e) { return e.best; });
    EXPECT_NEAR(untrained.metrics.at("loss"), best->metrics.at("loss"), 1e-4);
    break;
  }
}

TEST(Seq2SeqTrainerTest, LossThatIsNotANumberFailsWithItsStep) {
  TrainOptions options = ToyT5Options();
  options.learning_rate = 1e30;
  options.schedule = Schedule::kConstant;
  options.max_grad_norm = 0;
  const ToyRun run = RunToy(MakeToyT5(), options, ToyPairs(40, 0));
  EXPECT_EQ(GetReason(run.status), Reason::kLossNotFinite) << run.status;
  EXPECT_NE(std::string(run.status.message())
                .find(absl::StrCat("step ", run.progress.empty() ? 1 : run.progress.back().step + 1)),
            std::string::npos)
      << run.status;
}

TEST(Seq2SeqTrainerTest, WrongInputIsNamed) {
  const auto base = MakeToyT5(), tied = MakeToyT5(/*flan=*/false);
  using Spoil = std::function<void(TrainOptions&, TrainData&)>;
  const auto status = [&](const std::shared_ptr<const Base>& of, const Spoil& spoil) {
    TrainOptions options = ToyT5Options();
    TrainData data = ToyPairs(8, 4);
    spoil(options, data);
    options.max_steps = 1;
    return RunToy(of, options, data).status;
  };
  const auto field = [&](const Spoil& spoil) { return GetField(status(base, spoil)); };
  const auto reason = [&](const Spoil& spoil) { return GetReason(status(base, spoil)); };
  EXPECT_EQ(field([](auto&, auto&) {}), "");
  EXPECT_EQ(field([](auto&, auto& data) { data.train_pairs[2].input = " "; }), "train row 3");
  EXPECT_EQ(field([](auto&, auto& data) { data.validation_pairs[3].target = ""; }), "validation row 4");
  EXPECT_EQ(reason([](auto&, auto& data) { data.train_pairs[0].target.clear(); }), Reason::kDatasetInvalid);
  EXPECT_EQ(field([](auto&, auto& data) { data.train_pairs.clear(); }), "train");
  EXPECT_EQ(field([](auto& options, auto&) { options.max_target_tokens = 1; }), "max_target_tokens");
  EXPECT_EQ(field([](auto& options, auto&) { options.metric_for_best = "accuracy"; }), "metric_for_best");
  EXPECT_EQ(reason([](auto& options, auto&) { options.metric_for_best = "macro_f1"; }), Reason::kOptionInvalid);
  EXPECT_EQ(field([](auto& options, auto&) { options.lora.target_modules = {"query"}; }), "target_modules");
  EXPECT_EQ(field([](auto& options, auto&) { options.lora.modules_to_save = {"shared"}; }), "modules_to_save");
  EXPECT_EQ(field([](auto& options, auto&) { options.lora.modules_to_save = {"o"}; }), "modules_to_save");  // and wo
  EXPECT_EQ(field([](auto& options, auto&) { options.method = Method::kHead; }), "method");
  EXPECT_EQ(reason([](auto& options, auto&) { options.method = Method::kHead; }), Reason::kUnsupported);
  const absl::Status output = status(tied, [](auto& options, auto&) {
    options.lora.target_modules = {"q", "lm_head"};
  });
  EXPECT_EQ(GetReason(output), Reason::kUnsupported) << output;
  EXPECT_TRUE(status(base, [](auto& options, auto&) { options.lora.target_modules = {"q", "lm_head"}; }).ok());
  // The other way round.
  TrainOptions options = testing::ToyOptions();
  options.metric_for_best = "token_accuracy";
  EXPECT_EQ(GetField(RunToy(testing::MakeToyBase(), options, testing::ToyData(8, 4)).status), "metric_for_best");
}

TEST(PairsTest, TheEndStaysWhereTextsAreCut) {
  const auto base = MakeToyT5();
  TrainData data;
  data.train_pairs = {{"abcdefgh", "uvwxyz"}, {"a", "b"}};
  const auto pairs = TokenizePairs(data, base->tokenizer(), 5, 3, [] { return false; });
  ASSERT_TRUE(pairs.ok()) << pairs.status();
  const TokenPairs& train = (*pairs)->train;
  ASSERT_EQ(train.size(), 2);
  EXPECT_EQ(train.sources[0].size(), 5u);
  EXPECT_EQ(train.sources[0].back(), 1);
  EXPECT_EQ(train.targets[0].size(), 3u);
  EXPECT_EQ(train.targets[0].back(), 1);
  EXPECT_EQ(train.lengths(), (std::vector<int64_t>{8, 6}));
  EXPECT_EQ((*pairs)->validation.size(), 0);
}

}  // namespace
}  // namespace tenon::engine
