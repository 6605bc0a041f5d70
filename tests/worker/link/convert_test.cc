#include "worker/link/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "worker/link/progress_meter.h"
#include "worker/link/run_record.h"

namespace tenon::link {
namespace {

namespace pb = internal::v1;
using ::testing::ElementsAre;
using ::testing::Pair;

v1::FinetuneJob Spec() {
  v1::FinetuneJob spec;
  spec.set_base("bases/tiny");
  spec.set_task(v1::TASK_SEQUENCE_CLASSIFICATION);
  spec.set_method(v1::METHOD_LORA);
  return spec;
}

TEST(ToTrainOptions, TakesTheDocumentedDefaults) {
  const auto options = ToTrainOptions(Spec(), 4000);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->method, engine::Method::kLora);
  EXPECT_EQ(options->learning_rate, 1e-3);
  EXPECT_EQ(options->batch_size, 8);
  EXPECT_EQ(options->epochs, 3);
  EXPECT_EQ(options->max_grad_norm, 1);
  EXPECT_EQ(options->eval_steps, 150) << "ten times in 1500 steps";
  EXPECT_EQ(options->save_steps, 50);
  EXPECT_TRUE(options->group_by_length);
  EXPECT_LT(options->base_dropout, 0);
  EXPECT_EQ(options->lora.r, 8);
  EXPECT_EQ(options->lora.alpha, 16);
  EXPECT_THAT(options->lora.target_modules, ElementsAre("query", "value"));
  EXPECT_EQ(options->lora.task_type, "SEQ_CLS");
}

TEST(ToTrainOptions, KnowsEveryMethod) {
  v1::FinetuneJob spec = Spec();
  spec.set_method(v1::METHOD_PROMPT_TUNING);
  const auto defaults = ToTrainOptions(spec, 100);
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_EQ(defaults->method, engine::Method::kPromptTuning);
  EXPECT_EQ(defaults->learning_rate, 1e-2);
  EXPECT_EQ(defaults->prompt.num_virtual_tokens, 20);
  EXPECT_EQ(defaults->prompt.init, formats::PromptInit::kVocabulary);
  EXPECT_EQ(defaults->prompt.base_model_name_or_path, "bases/tiny");
  spec.mutable_prompt_tuning()->set_num_virtual_tokens(7);
  spec.mutable_prompt_tuning()->set_init("text");
  spec.mutable_prompt_tuning()->set_init_text("spam?");
  const auto said = ToTrainOptions(spec, 100);
  ASSERT_TRUE(said.ok()) << said.status();
  EXPECT_EQ(said->prompt.num_virtual_tokens, 7);
  EXPECT_EQ(said->prompt.init, formats::PromptInit::kText);
  EXPECT_EQ(said->prompt.init_text, "spam?");
  spec.mutable_prompt_tuning()->set_init("magic");
  EXPECT_EQ(GetField(ToTrainOptions(spec, 100).status()), "init");
  spec.set_method(v1::METHOD_BOTTLENECK);
  spec.mutable_bottleneck()->set_layout("par_bn");
  spec.mutable_bottleneck()->set_non_linearity("tanh");
  const auto block = ToTrainOptions(spec, 100);
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_EQ(block->method, engine::Method::kBottleneck);
  EXPECT_EQ(block->learning_rate, 1e-3);
  EXPECT_TRUE(block->bottleneck.parallel);
  EXPECT_EQ(block->bottleneck.reduction_factor, 2);
  EXPECT_EQ(block->bottleneck.scaling, 4);
  EXPECT_EQ(block->bottleneck.non_linearity, "tanh");
  spec.mutable_bottleneck()->set_layout("magic");
  EXPECT_EQ(GetField(ToTrainOptions(spec, 100).status()), "layout");
  spec.set_method(v1::METHOD_HEAD);
  EXPECT_EQ(ToTrainOptions(spec, 100)->method, engine::Method::kHead);
  spec.set_method(v1::METHOD_FULL);
  EXPECT_EQ(ToTrainOptions(spec, 100)->method, engine::Method::kFull);
  EXPECT_EQ(ToTrainOptions(spec, 100)->learning_rate, 5e-5);
  // A newer server's method is no LoRA.
  spec.set_method(static_cast<v1::Method>(99));
  EXPECT_EQ(GetField(ToTrainOptions(spec, 100).status()), "method");
}

TEST(ToTrainOptions, TakesWhatTheSpecSays) {
  v1::FinetuneJob spec = Spec();
  v1::TrainingOptions& training = *spec.mutable_training();
  training.set_learning_rate(5e-4);
  training.set_schedule("cosine");
  training.set_warmup_ratio(0.1);
  training.set_batch_size(16);
  training.set_gradient_accumulation_steps(2);
  training.set_max_steps(101);
  training.set_weight_decay(0.01);
  training.set_max_grad_norm(0);
  training.set_max_input_tokens(64);
  training.set_seed(42);
  training.set_precision("bf16");
  training.set_eval_steps(0);
  training.set_save_steps(7);
  training.set_early_stopping_patience(3);
  training.set_metric_for_best("loss");
  training.set_base_dropout(0);
  training.set_group_by_length(false);
  spec.mutable_lora()->set_r(4);
  spec.mutable_lora()->set_alpha(32);
  spec.mutable_lora()->set_use_rslora(true);
  (*spec.mutable_lora()->mutable_rank_pattern())["query"] = 2;
  const auto options = ToTrainOptions(spec, 10);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->schedule, engine::Schedule::kCosine);
  EXPECT_EQ(options->warmup_steps, 11) << "rounded up";
  EXPECT_EQ(options->gradient_accumulation_steps, 2);
  EXPECT_EQ(options->max_grad_norm, 0);
  EXPECT_EQ(options->max_input_tokens, 64);
  EXPECT_EQ(options->seed, 42u);
  EXPECT_EQ(options->precision, engine::Precision::kBf16);
  EXPECT_EQ(options->eval_steps, 0);
  EXPECT_EQ(options->early_stopping_patience, 3);
  EXPECT_EQ(options->metric_for_best, "loss");
  EXPECT_EQ(options->base_dropout, 0);
  EXPECT_FALSE(options->group_by_length);
  EXPECT_TRUE(options->lora.use_rslora);
  EXPECT_THAT(options->lora.rank_pattern, ElementsAre(Pair("query", 2)));
}

TEST(ToTrainOptions, TellsSuffixesPatternsAndAllLinearApart) {
  const auto lora = [](std::vector<std::string> modules) {
    v1::FinetuneJob spec = Spec();
    for (const auto& module : modules) spec.mutable_lora()->add_target_modules(module);
    return ToTrainOptions(spec, 10)->lora;
  };
  EXPECT_THAT(lora({"attention.self.query"}).target_modules, ElementsAre("attention.self.query"));
  EXPECT_EQ(lora({".*layer\\.[01]\\..*query"}).target_regex, ".*layer\\.[01]\\..*query");
  EXPECT_TRUE(lora({".*query"}).target_modules.empty());
  EXPECT_TRUE(lora({"all-linear"}).all_linear);
  EXPECT_TRUE(lora({"all-linear"}).target_modules.empty());
}

TEST(ToTrainOptions, NamesWhatItRefuses) {
  const auto refused = [](const std::function<void(v1::FinetuneJob&)>& change) {
    v1::FinetuneJob spec = Spec();
    change(spec);
    return GetField(ToTrainOptions(spec, 10).status());
  };
  EXPECT_EQ(refused([](auto& s) { s.mutable_lora()->set_bias("all"); }), "bias");
  EXPECT_EQ(refused([](auto& s) { s.mutable_lora()->set_r(0); }), "r");
  EXPECT_EQ(refused([](auto& s) { s.mutable_training()->set_learning_rate(-1); }), "learning_rate");
  EXPECT_EQ(refused([](auto& s) { s.mutable_training()->set_precision("fp16"); }), "precision");
  EXPECT_EQ(refused([](auto& s) { s.mutable_training()->set_batch_size(0); }), "batch_size");
  EXPECT_EQ(refused([](auto& s) { s.mutable_training()->set_schedule("steps"); }), "schedule");
}

TEST(ToCall, KeepsWhatWasAsked) {
  pb::InferenceRequest request;
  request.set_base_digest("b");
  request.mutable_adapter()->set_digest("a");
  request.set_kind(pb::INFERENCE_KIND_CLASSIFY);
  request.add_texts("x");
  request.set_timeout_ms(1500);
  const absl::Time now = absl::FromUnixSeconds(100);
  auto call = ToCall(request, now);
  ASSERT_TRUE(call.ok());
  EXPECT_EQ(call->adapter_digest, "a");
  EXPECT_EQ(call->output, engine::Output::kProbabilities);
  EXPECT_EQ(call->deadline, now + absl::Milliseconds(1500));
  EXPECT_FALSE(call->pooling.has_value());
  EXPECT_FALSE(call->normalize.has_value());
  request.set_kind(pb::INFERENCE_KIND_EMBED);
  request.set_pooling(v1::POOLING_MAX);
  request.set_normalize(false);
  request.clear_timeout_ms();
  call = ToCall(request, now);
  EXPECT_EQ(call->output, engine::Output::kEmbedding);
  EXPECT_EQ(call->pooling, formats::Pooling::kMax);
  EXPECT_EQ(call->normalize, false);
  EXPECT_EQ(call->deadline, absl::InfiniteFuture());
  request.set_kind(pb::INFERENCE_KIND_UNSPECIFIED);
  EXPECT_FALSE(ToCall(request, now).ok());
}

TEST(ToCall, KeepsPairs) {
  pb::InferenceRequest request;
  request.set_kind(pb::INFERENCE_KIND_CLASSIFY);
  for (const char* text : {"x", "y"}) request.add_texts(text);
  for (const char* text : {"", "z"}) request.add_text_pairs(text);
  EXPECT_THAT(ToCall(request, absl::UnixEpoch())->text_pairs, ElementsAre("", "z"));
}

TEST(ToEvalResult, OfARegressionHasWhatIsDefined) {
  engine::RegressionScores scores{.mse = 0.5, .pearson = 0.75, .rows = 9};
  const v1::EvalResult result = ToEvalResult("b", "a", {}, scores);
  ASSERT_EQ(result.metrics_size(), 2);
  EXPECT_EQ(result.metrics(0).name(), "mse");
  EXPECT_EQ(result.metrics(0).value(), 0.5);
  EXPECT_EQ(result.metrics(1).name(), "pearson");
  EXPECT_EQ(result.examples(), 9);
  EXPECT_EQ(result.model().revision(), "a");
  EXPECT_EQ(result.classes_size(), 0);
}

TEST(ToRows, NumbersAndPairsGoWithTheirTexts) {
  const auto set =
      formats::ReadDataset("{\"text\":\"a\",\"text_pair\":\"b\",\"label\":2.5}", formats::DatasetFormat::kJsonLines);
  const auto rows = ToRows(*set, {"LABEL_0"});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ((*rows)[0].text_pair, "b");
  EXPECT_THAT((*rows)[0].values, ElementsAre(2.5f));
  EXPECT_TRUE((*rows)[0].labels.empty());
}

TEST(ToResult, CarriesRowsOrTheErrorsReason) {
  runtime::InferenceReply reply;
  reply.rows = {{{0.25f, 0.75f}, 5, true}, {{1, 0}, 6, false}};
  reply.adapter.labels = {"no", "yes"};
  reply.adapter.method = "head";
  reply.compute_time = absl::Milliseconds(5);
  const auto result = ToResult(7, pb::INFERENCE_KIND_CLASSIFY, true, reply);
  EXPECT_EQ(result.call_id(), 7u);
  EXPECT_EQ(result.input_tokens(), 11);
  EXPECT_THAT(result.rows(0).values(), ElementsAre(0.25f, 0.75f));
  EXPECT_TRUE(result.rows(0).truncated());
  EXPECT_EQ(result.labels_size(), 0) << "the catalog has them";
  EXPECT_EQ(ToResult(7, pb::INFERENCE_KIND_CLASSIFY, false, reply).labels_size(), 2);
  EXPECT_EQ(ToResult(7, pb::INFERENCE_KIND_CHECK_ADAPTER, true, reply).method(), v1::METHOD_HEAD);
  const auto error = ToResult(8, pb::INFERENCE_KIND_EMBED, true, TenonError(Reason::kBaseMismatch, "other base"));
  EXPECT_EQ(error.error().reason(), "BASE_MISMATCH");
  EXPECT_EQ(error.call_id(), 8u);
}

TEST(ProgressMeter, ReportsMeansAndMeasuredRatesOnly) {
  ProgressMeter meter(absl::Seconds(1));
  absl::Time now = absl::FromUnixSeconds(100);
  const auto step = [&](int64_t n, double loss) {
    return meter.Add({.step = n, .total_steps = 100, .loss = loss, .learning_rate = 0.5, .examples = 8}, now);
  };
  auto first = step(11, 3);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->done(), 11);
  EXPECT_FALSE(first->has_examples_per_second());
  EXPECT_FALSE(first->has_remaining_seconds());
  now += absl::Milliseconds(500);
  EXPECT_FALSE(step(12, 2).has_value());
  now += absl::Milliseconds(500);
  auto second = step(13, 1);
  ASSERT_TRUE(second.has_value());
  EXPECT_DOUBLE_EQ(second->loss(), 1.5);
  EXPECT_DOUBLE_EQ(second->examples_per_second(), 16);
  EXPECT_FALSE(second->has_remaining_seconds()) << "two steps are no measure";
  now += absl::Seconds(2);
  auto third = step(15, 1);
  EXPECT_DOUBLE_EQ(third->remaining_seconds(), 85 * 3.0 / 4);
  EXPECT_TRUE(step(100, 1).has_value()) << "the last step is always told";
}

TEST(ProgressMeter, CountsRowsOfAnEvaluation) {
  ProgressMeter meter(absl::Seconds(1));
  absl::Time now = absl::FromUnixSeconds(100);
  meter.AddRows(10, 100, now);
  now += absl::Seconds(2);
  const auto progress = meter.AddRows(30, 100, now);
  ASSERT_TRUE(progress.has_value());
  EXPECT_EQ(progress->phase(), v1::JOB_PHASE_EVALUATING);
  EXPECT_DOUBLE_EQ(progress->examples_per_second(), 10);
  EXPECT_DOUBLE_EQ(progress->remaining_seconds(), 7);
}

TEST(RunRecord, GoesWithTheCheckpoint) {
  RunRecord record;
  const absl::Time start = absl::FromUnixSeconds(100);
  record.Start(start);
  record.Add({.step = 0, .kind = "untrained", .metrics = {{"accuracy", 0.25}}});
  record.Add({.step = 5, .kind = "validation", .metrics = {{"accuracy", 0.9}}, .best = true});
  record.Add({.step = 10, .kind = "validation", .metrics = {{"accuracy", 0.8}}});
  auto resumed = RunRecord::FromJson(record.ToJson(start + absl::Seconds(7)));
  ASSERT_TRUE(resumed.ok());
  resumed->Start(start + absl::Hours(1));
  EXPECT_THAT(resumed->untrained(), ElementsAre(Pair("accuracy", 0.25)));
  EXPECT_THAT(resumed->best(), ElementsAre(Pair("accuracy", 0.9)));
  EXPECT_DOUBLE_EQ(resumed->Seconds(start + absl::Hours(1) + absl::Seconds(3)), 10);
  EXPECT_FALSE(RunRecord::FromJson("[").ok());
}

}  // namespace
}  // namespace tenon::link
