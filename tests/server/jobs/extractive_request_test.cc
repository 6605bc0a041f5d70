// Jobs for TASK_EXTRACTIVE_SUMMARIZATION: defaults, what the number of sentences leaves open, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "server/jobs/finetune_request.h"
#include "tests/server/jobs/bad_field.h"

namespace tenon::server {
namespace {

using testing::BadField;
using testing::ExpectNamed;
using ::testing::HasSubstr;

v1::FinetuneJob Minutes() {
  v1::FinetuneJob job;
  job.set_base("minilm");
  job.set_adapter("minutes");
  job.set_task(v1::TASK_EXTRACTIVE_SUMMARIZATION);
  job.set_method(v1::METHOD_LORA);
  job.set_train_dataset("train");
  job.mutable_text_template()->set_input("{dialogue}");
  job.mutable_text_template()->set_target("{summary}");
  return job;
}

v1::Dataset Records(int64_t rows) {
  v1::Dataset dataset;
  dataset.set_name("datasets/rows");
  dataset.set_kind(v1::DATASET_KIND_RECORDS);
  dataset.set_row_count(rows);
  dataset.add_fields("dialogue");
  dataset.add_fields("summary");
  return dataset;
}

absl::Status Complete(v1::FinetuneJob& job, const v1::Dataset& train,
                      const std::optional<v1::Dataset>& validation = std::nullopt) {
  UnknownIn unknown = UnknownIn::kNone;
  return CompleteFinetune(job, train, validation, &unknown);
}

TEST(ExtractiveRequestTest, FillsInItsDefaults) {
  v1::FinetuneJob request = Minutes();
  request.clear_text_template();
  const auto job = NormalizeFinetune(request, 1);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->text_template().input(), "{input}");
  EXPECT_EQ(job->text_template().target(), "{target}");
  EXPECT_EQ(job->sentence_scorer().neighbours(), 3);
  EXPECT_EQ(job->training().metric_for_best(), "loss");
  EXPECT_FALSE(job->training().has_max_target_tokens());
  EXPECT_EQ(NormalizeFinetune(*job, 1)->SerializeAsString(), job->SerializeAsString()) << "the echo may be sent again";
  EXPECT_FALSE(NormalizeFinetune(*job, 1)->has_prompt_tuning());
}

TEST(ExtractiveRequestTest, WhatIsSaidStays) {
  v1::FinetuneJob request = Minutes();
  request.mutable_sentence_scorer()->set_neighbours(0);
  request.mutable_training()->set_metric_for_best("macro_f1");
  const auto job = NormalizeFinetune(request, 1);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_TRUE(job->sentence_scorer().has_neighbours());
  EXPECT_EQ(job->sentence_scorer().neighbours(), 0);
  EXPECT_EQ(job->training().metric_for_best(), "macro_f1");
}

TEST(ExtractiveRequestTest, EveryMethodThatMakesAnAdapterGoes) {
  for (const v1::Method method : {v1::METHOD_HEAD, v1::METHOD_PROMPT_TUNING, v1::METHOD_BOTTLENECK}) {
    v1::FinetuneJob request = Minutes();
    request.set_method(method);
    EXPECT_TRUE(NormalizeFinetune(request, 1).ok()) << method;
  }
}

// How many rows the texts' sentences make, the worker finds out.
TEST(ExtractiveRequestTest, WhatTheNumberOfStepsDecidesIsLeftOpen) {
  auto job = NormalizeFinetune(Minutes(), 1);
  ASSERT_TRUE(Complete(*job, Records(100), Records(10)).ok());
  EXPECT_FALSE(job->training().has_eval_steps());
  EXPECT_EQ(job->training().warmup_steps(), 0);
  job = NormalizeFinetune(Minutes(), 1);
  ASSERT_TRUE(Complete(*job, Records(100)).ok());
  EXPECT_EQ(job->training().eval_steps(), 0) << "nothing to evaluate on";
  v1::FinetuneJob counted = Minutes();
  counted.mutable_training()->set_max_steps(200);
  job = NormalizeFinetune(counted, 1);
  ASSERT_TRUE(Complete(*job, Records(100), Records(10)).ok());
  EXPECT_EQ(job->training().eval_steps(), 20);
  EXPECT_TRUE(job->labels().empty());
}

TEST(ExtractiveRequestTest, RowsMustFillTheTemplate) {
  auto job = NormalizeFinetune(Minutes(), 1);
  v1::Dataset rows = Records(9);
  rows.mutable_fields()->RemoveLast();
  rows.add_warnings("ignored columns: summary (row 7: is empty)");
  const absl::Status status = Complete(*job, rows);
  EXPECT_EQ(GetReason(status), Reason::kFieldInvalid);
  EXPECT_EQ(GetField(status), "finetune_job.text_template.target");
  EXPECT_THAT(std::string(status.message()), HasSubstr("summary (row 7: is empty)"));
  EXPECT_EQ(GetField(Complete(*job, Records(9), Records(0))), "finetune_job.validation_dataset");
  v1::Dataset queries;
  queries.set_kind(v1::DATASET_KIND_QUERIES);
  queries.set_row_count(3);
  EXPECT_EQ(GetField(Complete(*job, queries)), "finetune_job.train_dataset");
}

class BadExtractive : public ::testing::TestWithParam<BadField> {};

TEST_P(BadExtractive, IsNamed) { ExpectNamed(Minutes(), GetParam()); }

using Job = v1::FinetuneJob;
INSTANTIATE_TEST_SUITE_P(
    All, BadExtractive,
    ::testing::Values(
        BadField{"finetune_job.method", Reason::kUnsupported, "METHOD_FULL makes a base",
                 [](Job& j) { j.set_method(v1::METHOD_FULL); }},
        BadField{"finetune_job.sentence_scorer.neighbours", Reason::kOptionInvalid, "from 0 to 64",
                 [](Job& j) { j.mutable_sentence_scorer()->set_neighbours(65); }},
        BadField{"finetune_job.sentence_scorer.neighbours", Reason::kOptionInvalid, "is -1",
                 [](Job& j) { j.mutable_sentence_scorer()->set_neighbours(-1); }},
        BadField{"finetune_job.training.max_target_tokens", Reason::kOptionInvalid, "TASK_SEQ2SEQ",
                 [](Job& j) { j.mutable_training()->set_max_target_tokens(9); }},
        BadField{"finetune_job.training.multi_label", Reason::kOptionInvalid, "TASK_SEQUENCE_CLASSIFICATION",
                 [](Job& j) { j.mutable_training()->set_multi_label(true); }},
        BadField{"finetune_job.training.metric_for_best", Reason::kOptionInvalid, "accuracy, macro_f1 or loss",
                 [](Job& j) { j.mutable_training()->set_metric_for_best("token_accuracy"); }},
        BadField{"finetune_job.text_template.input", Reason::kFieldInvalid, "has no field",
                 [](Job& j) { j.mutable_text_template()->set_input("a text"); }},
        BadField{"finetune_job.sentence_scorer", Reason::kFieldInvalid, "TASK_EXTRACTIVE_SUMMARIZATION",
                 [](Job& j) {
                   j.set_task(v1::TASK_SEQ2SEQ);
                   j.mutable_sentence_scorer()->set_neighbours(3);
                 }},
        BadField{"finetune_job.sentence_scorer", Reason::kFieldInvalid, "TASK_EXTRACTIVE_SUMMARIZATION", [](Job& j) {
                   j.clear_text_template();
                   j.set_task(v1::TASK_SEQUENCE_CLASSIFICATION);
                   j.mutable_sentence_scorer();
                 }}));

}  // namespace
}  // namespace tenon::server
