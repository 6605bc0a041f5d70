#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "common/formats/status.h"
#include "server/jobs/eval_request.h"
#include "server/jobs/finetune_request.h"
#include "server/jobs/method_options.h"

namespace tenon::server {
namespace {

using ::testing::ElementsAre;

v1::FinetuneJob Lora() {
  v1::FinetuneJob job;
  job.set_base("minilm");
  job.set_adapter("adapters/news");
  job.set_task(v1::TASK_SEQUENCE_CLASSIFICATION);
  job.set_method(v1::METHOD_LORA);
  job.set_train_dataset("datasets/train");
  return job;
}

v1::Dataset Rows(const std::vector<std::string>& labels, int64_t rows = 100) {
  v1::Dataset dataset;
  dataset.set_name("datasets/rows");
  dataset.set_kind(v1::DATASET_KIND_CLASSIFICATION);
  dataset.set_row_count(rows);
  for (const std::string& label : labels) dataset.add_labels(label);
  return dataset;
}

TEST(FinetuneRequestTest, FillsInEveryDefaultAndEchoesIt) {
  auto job = NormalizeFinetune(Lora(), 42);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->base(), "bases/minilm");
  EXPECT_EQ(job->adapter(), "adapters/news");
  EXPECT_EQ(job->training().seed(), 42);
  EXPECT_DOUBLE_EQ(job->training().learning_rate(), 1e-3);
  EXPECT_EQ(job->training().schedule(), "linear");
  EXPECT_EQ(job->training().batch_size(), 8);
  EXPECT_DOUBLE_EQ(job->training().epochs(), 3);
  EXPECT_FALSE(job->training().has_max_steps());
  EXPECT_EQ(job->training().precision(), "fp32");
  EXPECT_EQ(job->training().save_steps(), 50);
  EXPECT_EQ(job->training().metric_for_best(), "") << "the data says what is learnt";
  EXPECT_TRUE(job->training().group_by_length());
  EXPECT_EQ(job->lora().r(), 8);
  EXPECT_DOUBLE_EQ(job->lora().alpha(), 16);
  EXPECT_EQ(job->lora().bias(), "none");
  EXPECT_TRUE(job->lora().target_modules().empty());
  FillTargets("bert", *job);
  EXPECT_THAT(job->lora().target_modules(), ElementsAre("query", "value"));
  FillTargets("bert", *job);
  EXPECT_EQ(job->lora().target_modules_size(), 2) << "once";
}

TEST(FinetuneRequestTest, ALorasTargetsAreCalledAsTheBaseCallsThem) {
  auto job = NormalizeFinetune(Lora(), 42);
  ASSERT_TRUE(job.ok()) << job.status();
  FillTargets("distilbert", *job);
  EXPECT_THAT(job->lora().target_modules(), ElementsAre("q_lin", "v_lin"));
}

TEST(FinetuneRequestTest, WhatIsSetStays) {
  v1::FinetuneJob request = Lora();
  request.mutable_training()->set_seed(0);
  request.mutable_training()->set_max_steps(500);
  request.mutable_training()->set_eval_steps(0);
  request.mutable_training()->set_weight_decay(0.1);
  request.mutable_lora()->add_target_modules("all-linear");
  auto job = NormalizeFinetune(request, 42);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->training().seed(), 0);
  EXPECT_FALSE(job->training().has_epochs());
  EXPECT_EQ(job->lora().target_modules_size(), 1);
  UnknownIn unknown = UnknownIn::kNone;
  ASSERT_TRUE(CompleteFinetune(*job, Rows({"a", "b"}), Rows({"a"}), &unknown).ok());
  EXPECT_EQ(job->training().eval_steps(), 0);
}

TEST(FinetuneRequestTest, OutputFieldsOfTheClientAreDropped) {
  v1::FinetuneJob request = Lora();
  request.set_name("finetuneJobs/mine");
  request.set_state(v1::JOB_STATE_SUCCEEDED);
  request.set_term(7);
  request.mutable_result()->set_adapter_revision("adapters/x/revisions/y");
  const auto job = NormalizeFinetune(request, 1);
  EXPECT_EQ(job->name(), "");
  EXPECT_EQ(job->state(), v1::JOB_STATE_UNSPECIFIED);
  EXPECT_EQ(job->term(), 0);
  EXPECT_FALSE(job->has_result());
}

TEST(FinetuneRequestTest, HeadHasItsOwnRateAndNoLora) {
  v1::FinetuneJob request = Lora();
  request.set_method(v1::METHOD_HEAD);
  const auto job = NormalizeFinetune(request, 1);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_DOUBLE_EQ(job->training().learning_rate(), 1e-2);
  EXPECT_FALSE(job->has_lora());
  request.mutable_lora()->set_r(4);
  EXPECT_EQ(GetField(NormalizeFinetune(request, 1).status()), "finetune_job.lora");
}

TEST(FinetuneRequestTest, APromptHasItsOwnDefaults) {
  v1::FinetuneJob request = Lora();
  request.set_method(v1::METHOD_PROMPT_TUNING);
  const auto job = NormalizeFinetune(request, 1);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_DOUBLE_EQ(job->training().learning_rate(), 1e-2);
  EXPECT_EQ(job->prompt_tuning().num_virtual_tokens(), 20);
  EXPECT_EQ(job->prompt_tuning().init(), "vocabulary");
  EXPECT_FALSE(job->prompt_tuning().has_init_text());
  EXPECT_FALSE(job->has_lora());
  request.mutable_prompt_tuning()->set_num_virtual_tokens(5);
  request.mutable_prompt_tuning()->set_init("text");
  request.mutable_prompt_tuning()->set_init_text("spam or ham");
  EXPECT_EQ(NormalizeFinetune(request, 1)->prompt_tuning().num_virtual_tokens(), 5);
  request.set_method(v1::METHOD_LORA);
  EXPECT_EQ(GetField(NormalizeFinetune(request, 1).status()), "finetune_job.prompt_tuning");
}

TEST(FinetuneRequestTest, ABottlenecksLayoutDecidesItsDefaults) {
  v1::FinetuneJob request = Lora();
  request.set_method(v1::METHOD_BOTTLENECK);
  const auto plain = NormalizeFinetune(request, 1);
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_DOUBLE_EQ(plain->training().learning_rate(), 1e-3);
  EXPECT_EQ(plain->bottleneck().layout(), "seq_bn");
  EXPECT_DOUBLE_EQ(plain->bottleneck().reduction_factor(), 16);
  EXPECT_EQ(plain->bottleneck().non_linearity(), "relu");
  request.mutable_bottleneck()->set_layout("double_seq_bn");
  EXPECT_EQ(NormalizeFinetune(request, 1)->bottleneck().non_linearity(), "swish");
  request.mutable_bottleneck()->set_layout("par_bn");
  EXPECT_DOUBLE_EQ(NormalizeFinetune(request, 1)->bottleneck().reduction_factor(), 2);
  request.mutable_bottleneck()->set_reduction_factor(4);
  EXPECT_DOUBLE_EQ(NormalizeFinetune(request, 1)->bottleneck().reduction_factor(), 4);
  request.set_method(v1::METHOD_HEAD);
  EXPECT_EQ(GetField(NormalizeFinetune(request, 1).status()), "finetune_job.bottleneck");
}

TEST(FinetuneRequestTest, FullNamesABaseAndHasNoOptionsOfItsOwn) {
  v1::FinetuneJob request = Lora();
  request.set_method(v1::METHOD_FULL);
  EXPECT_EQ(GetField(NormalizeFinetune(request, 1).status()), "finetune_job.adapter") << "that is an adapter's name";
  for (const char* name : {"news", "bases/news"}) {
    request.set_adapter(name);
    const auto job = NormalizeFinetune(request, 1);
    ASSERT_TRUE(job.ok()) << job.status();
    EXPECT_EQ(job->adapter(), "bases/news");
    EXPECT_TRUE(MakesBase(*job));
    EXPECT_DOUBLE_EQ(job->training().learning_rate(), 5e-5);
    EXPECT_FALSE(job->has_lora() || job->has_prompt_tuning() || job->has_bottleneck());
  }
  request.mutable_training()->set_precision("bf16");
  EXPECT_EQ(GetReason(NormalizeFinetune(request, 1).status()), Reason::kOptionInvalid);
  EXPECT_EQ(GetField(NormalizeFinetune(request, 1).status()), "finetune_job.training.precision");
  request.mutable_training()->clear_precision();
  request.mutable_lora()->set_r(4);
  EXPECT_EQ(GetField(NormalizeFinetune(request, 1).status()), "finetune_job.lora");
  request.clear_lora();
  request.mutable_prompt_tuning();
  EXPECT_EQ(GetField(NormalizeFinetune(request, 1).status()), "finetune_job.prompt_tuning");
  request.clear_prompt_tuning();
  request.mutable_bottleneck();
  EXPECT_EQ(GetField(NormalizeFinetune(request, 1).status()), "finetune_job.bottleneck");
  EXPECT_FALSE(MakesBase(*NormalizeFinetune(Lora(), 1)));
}

void SpoilBottleneck(v1::FinetuneJob& job, const std::function<void(v1::BottleneckOptions&)>& spoil) {
  job.set_method(v1::METHOD_BOTTLENECK);
  spoil(*job.mutable_bottleneck());
}

void SpoilPrompt(v1::FinetuneJob& job, const std::function<void(v1::PromptTuningOptions&)>& spoil) {
  job.set_method(v1::METHOD_PROMPT_TUNING);
  spoil(*job.mutable_prompt_tuning());
}

struct BadField {
  std::string field;
  Reason reason;
  std::function<void(v1::FinetuneJob&)> spoil;
};

class BadFinetune : public testing::TestWithParam<BadField> {};

TEST_P(BadFinetune, NamesTheField) {
  v1::FinetuneJob request = Lora();
  GetParam().spoil(request);
  const absl::Status status = NormalizeFinetune(request, 1).status();
  EXPECT_EQ(GetReason(status), GetParam().reason) << status;
  EXPECT_EQ(GetField(status), GetParam().field) << status;
}

using Job = v1::FinetuneJob;
INSTANTIATE_TEST_SUITE_P(
    All, BadFinetune,
    testing::Values(
        BadField{"finetune_job.base", Reason::kFieldRequired, [](Job& j) { j.clear_base(); }},
        BadField{"finetune_job.base", Reason::kIdInvalid, [](Job& j) { j.set_base("Mini LM"); }},
        BadField{"finetune_job.adapter", Reason::kFieldRequired, [](Job& j) { j.clear_adapter(); }},
        BadField{"finetune_job.train_dataset", Reason::kFieldRequired, [](Job& j) { j.clear_train_dataset(); }},
        BadField{"finetune_job.task", Reason::kFieldRequired, [](Job& j) { j.clear_task(); }},
        BadField{"finetune_job.task", Reason::kUnsupported, [](Job& j) { j.set_task(v1::TASK_FEATURE_EXTRACTION); }},
        BadField{"finetune_job.task", Reason::kFieldInvalid, [](Job& j) { j.set_task(static_cast<v1::Task>(77)); }},
        BadField{"finetune_job.method", Reason::kFieldRequired, [](Job& j) { j.clear_method(); }},
        BadField{"finetune_job.method", Reason::kFieldInvalid,
                 [](Job& j) { j.set_method(static_cast<v1::Method>(77)); }},
        BadField{"finetune_job.training.learning_rate", Reason::kOptionInvalid,
                 [](Job& j) { j.mutable_training()->set_learning_rate(-1e-3); }},
        BadField{"finetune_job.training.learning_rate", Reason::kOptionInvalid,
                 [](Job& j) { j.mutable_training()->set_learning_rate(std::numeric_limits<double>::quiet_NaN()); }},
        BadField{"finetune_job.training.schedule", Reason::kOptionInvalid,
                 [](Job& j) { j.mutable_training()->set_schedule("polynomial"); }},
        BadField{"finetune_job.training.warmup_ratio", Reason::kOptionInvalid,
                 [](Job& j) {
                   j.mutable_training()->set_warmup_ratio(0.1);
                   j.mutable_training()->set_warmup_steps(5);
                 }},
        BadField{"finetune_job.training.batch_size", Reason::kOptionInvalid,
                 [](Job& j) { j.mutable_training()->set_batch_size(0); }},
        BadField{"finetune_job.training.max_steps", Reason::kOptionInvalid,
                 [](Job& j) { j.mutable_training()->set_max_steps(0); }},
        BadField{"finetune_job.training.seed", Reason::kOptionInvalid,
                 [](Job& j) { j.mutable_training()->set_seed(-1); }},
        BadField{"finetune_job.training.precision", Reason::kOptionInvalid,
                 [](Job& j) { j.mutable_training()->set_precision("fp16"); }},
        BadField{"finetune_job.training.base_dropout", Reason::kOptionInvalid,
                 [](Job& j) { j.mutable_training()->set_base_dropout(-0.5); }},
        BadField{"finetune_job.training.metric_for_best", Reason::kOptionInvalid,
                 [](Job& j) { j.mutable_training()->set_metric_for_best("bleu"); }},
        BadField{"finetune_job.lora.r", Reason::kOptionInvalid, [](Job& j) { j.mutable_lora()->set_r(0); }},
        BadField{"finetune_job.lora.alpha", Reason::kOptionInvalid, [](Job& j) { j.mutable_lora()->set_alpha(0); }},
        BadField{"finetune_job.lora.dropout", Reason::kOptionInvalid, [](Job& j) { j.mutable_lora()->set_dropout(1); }},
        BadField{"finetune_job.lora.bias", Reason::kUnsupported, [](Job& j) { j.mutable_lora()->set_bias("all"); }},
        BadField{"finetune_job.lora.bias", Reason::kUnsupported,
                 [](Job& j) { j.mutable_lora()->set_bias("lora_only"); }},
        BadField{"finetune_job.lora", Reason::kOptionInvalid,
                 [](Job& j) { j.mutable_lora()->add_target_modules(std::string(40'000, 'a')); }},
        BadField{"finetune_job.bottleneck.layout", Reason::kOptionInvalid,
                 [](Job& j) { SpoilBottleneck(j, [](auto& block) { block.set_layout("pfeiffer"); }); }},
        BadField{"finetune_job.bottleneck.reduction_factor", Reason::kOptionInvalid,
                 [](Job& j) { SpoilBottleneck(j, [](auto& block) { block.set_reduction_factor(0); }); }},
        BadField{"finetune_job.bottleneck.non_linearity", Reason::kOptionInvalid,
                 [](Job& j) { SpoilBottleneck(j, [](auto& block) { block.set_non_linearity("step"); }); }},
        BadField{"finetune_job.prompt_tuning.num_virtual_tokens", Reason::kOptionInvalid,
                 [](Job& j) { SpoilPrompt(j, [](auto& prompt) { prompt.set_num_virtual_tokens(0); }); }},
        BadField{"finetune_job.prompt_tuning.init", Reason::kOptionInvalid,
                 [](Job& j) { SpoilPrompt(j, [](auto& prompt) { prompt.set_init("xavier"); }); }},
        BadField{"finetune_job.prompt_tuning.init_text", Reason::kOptionInvalid,
                 [](Job& j) { SpoilPrompt(j, [](auto& prompt) { prompt.set_init("text"); }); }},
        BadField{"finetune_job.prompt_tuning.init_text", Reason::kOptionInvalid,
                 [](Job& j) { SpoilPrompt(j, [](auto& prompt) { prompt.set_init_text("unused"); }); }},
        BadField{"finetune_job.training.learning_rate", Reason::kOptionInvalid,
                 [](Job& j) {
                   j.set_method(v1::METHOD_PROMPT_TUNING);
                   j.mutable_training()->set_learning_rate(0);
                 }}),
    [](const auto& info) { return "Case" + std::to_string(info.index); });

TEST(FinetuneDataTest, FillsInWhatDependsOnTheRows) {
  auto job = *NormalizeFinetune(Lora(), 1);
  UnknownIn unknown = UnknownIn::kValidation;
  ASSERT_TRUE(CompleteFinetune(job, Rows({"a", "b"}, 800), Rows({"b"}), &unknown).ok());
  EXPECT_EQ(unknown, UnknownIn::kNone);
  EXPECT_EQ(job.labels_size(), 2);
  EXPECT_EQ(job.training().warmup_steps(), 0);
  EXPECT_EQ(job.training().eval_steps(), 30) << "ten times in 3 x 100 steps";
  EXPECT_FALSE(job.training().multi_label());
  EXPECT_EQ(job.training().problem_type(), "single_label_classification");
  EXPECT_EQ(job.training().metric_for_best(), "accuracy");
}

TEST(FinetuneDataTest, WithoutValidationRowsNothingIsEvaluated) {
  auto job = *NormalizeFinetune(Lora(), 1);
  UnknownIn unknown = UnknownIn::kValidation;
  ASSERT_TRUE(CompleteFinetune(job, Rows({"a", "b"}), std::nullopt, &unknown).ok());
  EXPECT_EQ(job.training().eval_steps(), 0);
}

TEST(FinetuneDataTest, TellsOfUnknownLabels) {
  auto job = *NormalizeFinetune(Lora(), 1);
  UnknownIn unknown = UnknownIn::kNone;
  ASSERT_TRUE(CompleteFinetune(job, Rows({"a", "b"}), Rows({"a", "c"}), &unknown).ok());
  EXPECT_EQ(unknown, UnknownIn::kValidation);
}

TEST(FinetuneDataTest, RefusesDataThatCannotTrain) {
  const auto refused = [](const v1::Dataset& train, const std::optional<v1::Dataset>& validation = std::nullopt) {
    auto job = *NormalizeFinetune(Lora(), 1);
    UnknownIn unknown = UnknownIn::kNone;
    const absl::Status status = CompleteFinetune(job, train, validation, &unknown);
    return GetReason(status) == Reason::kFieldInvalid ? GetField(status) : std::string(status.message());
  };
  EXPECT_EQ(refused(Rows({"only"})), "finetune_job.train_dataset");
  EXPECT_EQ(refused(Rows({}, 0)), "finetune_job.train_dataset");
  v1::Dataset queries = Rows({"a", "b"});
  queries.set_kind(v1::DATASET_KIND_QUERIES);
  EXPECT_EQ(refused(queries), "finetune_job.train_dataset");
  EXPECT_EQ(refused(Rows({"a", "b"}), queries), "finetune_job.validation_dataset");
  v1::Dataset lists = Rows({"a"});
  lists.set_multi_label(true);
  EXPECT_EQ(refused(Rows({"a", "b"}), lists), "finetune_job.validation_dataset");
}

TEST(FinetuneDataTest, MultiLabelFollowsTheData) {
  v1::Dataset lists = Rows({"a"});
  lists.set_multi_label(true);
  auto job = *NormalizeFinetune(Lora(), 1);
  UnknownIn unknown = UnknownIn::kNone;
  ASSERT_TRUE(CompleteFinetune(job, lists, std::nullopt, &unknown).ok());
  EXPECT_TRUE(job.training().multi_label());
  v1::FinetuneJob request = Lora();
  request.mutable_training()->set_multi_label(false);
  job = *NormalizeFinetune(request, 1);
  EXPECT_EQ(GetField(CompleteFinetune(job, lists, std::nullopt, &unknown)), "finetune_job.training.multi_label");
}

v1::Dataset Numbers(int count = 1) {
  v1::Dataset dataset = Rows({});
  dataset.set_kind(v1::DATASET_KIND_REGRESSION);
  dataset.set_value_count(count);
  return dataset;
}

TEST(FinetuneDataTest, NumbersMakeARegression) {
  auto job = *NormalizeFinetune(Lora(), 1);
  UnknownIn unknown = UnknownIn::kValidation;
  ASSERT_TRUE(CompleteFinetune(job, Numbers(2), Numbers(2), &unknown).ok());
  EXPECT_EQ(unknown, UnknownIn::kNone);
  EXPECT_EQ(job.training().problem_type(), "regression");
  EXPECT_EQ(job.training().metric_for_best(), "loss");
  EXPECT_FALSE(job.training().multi_label());
  EXPECT_THAT(job.labels(), ElementsAre("LABEL_0", "LABEL_1"));
  v1::FinetuneJob request = Lora();
  request.mutable_training()->set_problem_type("regression");
  request.mutable_training()->set_metric_for_best("spearman");
  job = *NormalizeFinetune(request, 1);
  ASSERT_TRUE(CompleteFinetune(job, Numbers(), std::nullopt, &unknown).ok());
  EXPECT_EQ(job.training().metric_for_best(), "spearman");
}

TEST(FinetuneDataTest, TheProblemMustBeTheDatas) {
  v1::Dataset lists = Rows({"a"});
  lists.set_multi_label(true);
  const auto field = [](const std::function<void(v1::TrainingOptions&)>& set, const v1::Dataset& train,
                        const std::optional<v1::Dataset>& validation = std::nullopt) {
    v1::FinetuneJob request = Lora();
    set(*request.mutable_training());
    auto job = NormalizeFinetune(request, 1);
    if (!job.ok()) return GetField(job.status());
    UnknownIn unknown = UnknownIn::kNone;
    return GetField(CompleteFinetune(*job, train, validation, &unknown));
  };
  const auto problem = [](const std::string& type) {
    return [type](v1::TrainingOptions& t) { t.set_problem_type(type); };
  };
  const auto nothing = [](v1::TrainingOptions&) {};
  const std::string option = "finetune_job.training.";
  EXPECT_EQ(field(problem("ranking"), Numbers()), option + "problem_type");
  EXPECT_EQ(field(problem("regression"), Rows({"1", "2"})), "finetune_job.train_dataset");
  EXPECT_EQ(field(problem("multi_label_classification"), Numbers()), option + "problem_type");
  EXPECT_EQ(field(problem("single_label_classification"), lists), option + "problem_type");
  EXPECT_EQ(field(problem("multi_label_classification"), Rows({"a", "b"})), "");
  EXPECT_EQ(field([](auto& t) { t.set_multi_label(true); }, Numbers()), option + "multi_label");
  EXPECT_EQ(field([](auto& t) { t.set_metric_for_best("accuracy"); }, Numbers()), option + "metric_for_best");
  EXPECT_EQ(field([](auto& t) { t.set_metric_for_best("pearson"); }, Rows({"a", "b"})), option + "metric_for_best");
  EXPECT_EQ(field(nothing, Numbers(), Rows({"a"})), "finetune_job.validation_dataset");
  EXPECT_EQ(field(nothing, Numbers(1), Numbers(2)), "finetune_job.validation_dataset");
  EXPECT_EQ(field(nothing, Rows({"a", "b"}), Numbers()), "finetune_job.validation_dataset");
}

TEST(EvalRequestTest, FillsInCutOffsAndNames) {
  v1::EvalJob request;
  request.mutable_retrieval()->set_collection("docs");
  request.mutable_retrieval()->set_queries("q");
  request.mutable_retrieval()->set_qrels("datasets/r");
  const auto job = NormalizeEval(request);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->retrieval().collection(), "collections/docs");
  EXPECT_EQ(job->retrieval().ks_size(), 3);
  request.mutable_retrieval()->add_ks(0);
  EXPECT_EQ(GetField(NormalizeEval(request).status()), "eval_job.retrieval.ks");
}

TEST(EvalRequestTest, NamesTheFieldAtFault) {
  v1::EvalJob request;
  EXPECT_EQ(GetField(NormalizeEval(request).status()), "eval_job.subject");
  request.mutable_classification()->set_dataset("rows");
  EXPECT_EQ(GetField(NormalizeEval(request).status()), "eval_job.classification.adapters");
  request.mutable_classification()->add_adapters("a");
  EXPECT_TRUE(NormalizeEval(request).ok());
  request.mutable_classification()->clear_dataset();
  EXPECT_EQ(GetField(NormalizeEval(request).status()), "eval_job.classification.dataset");
  request.mutable_classification()->set_dataset("rows");
  for (int i = 0; i < 64; ++i) request.mutable_classification()->add_adapters("a");
  EXPECT_EQ(GetReason(NormalizeEval(request).status()), Reason::kFieldInvalid);
}

}  // namespace
}  // namespace tenon::server
