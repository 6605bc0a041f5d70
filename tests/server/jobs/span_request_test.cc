// Jobs for TASK_TOKEN_CLASSIFICATION and TASK_QUESTION_ANSWERING: defaults, labels, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/formats/status.h"
#include "server/jobs/finetune_request.h"
#include "tests/server/jobs/bad_field.h"

namespace tenon::server {
namespace {

using testing::BadField;
using ::testing::ElementsAre;
using testing::ExpectNamed;
using ::testing::HasSubstr;

v1::FinetuneJob Places(v1::Task task) {
  v1::FinetuneJob job;
  job.set_base("minilm");
  job.set_adapter("places");
  job.set_task(task);
  job.set_method(v1::METHOD_LORA);
  job.set_train_dataset("train");
  return job;
}
v1::FinetuneJob Tags() { return Places(v1::TASK_TOKEN_CLASSIFICATION); }
v1::FinetuneJob Answers() { return Places(v1::TASK_QUESTION_ANSWERING); }

v1::Dataset Rows(v1::DatasetKind kind, const std::vector<std::string>& labels = {}) {
  v1::Dataset dataset;
  dataset.set_name("datasets/rows");
  dataset.set_kind(kind);
  dataset.set_row_count(8);
  dataset.mutable_labels()->Assign(labels.begin(), labels.end());
  return dataset;
}

TEST(SpanRequestTest, FillsInItsDefaults) {
  const auto tags = NormalizeFinetune(Tags(), 1);
  ASSERT_TRUE(tags.ok()) << tags.status();
  EXPECT_TRUE(tags->token_classification().has_crf());
  EXPECT_FALSE(tags->token_classification().crf());
  EXPECT_FALSE(tags->has_question_answering());
  EXPECT_EQ(NormalizeFinetune(*tags, 1)->SerializeAsString(), tags->SerializeAsString())
      << "the echo may be sent again";
  const auto answers = NormalizeFinetune(Answers(), 1);
  ASSERT_TRUE(answers.ok()) << answers.status();
  EXPECT_EQ(answers->question_answering().doc_stride(), 128);
  EXPECT_EQ(NormalizeFinetune(*answers, 1)->SerializeAsString(), answers->SerializeAsString());
}

TEST(SpanRequestTest, LabelsAreThoseOfTheOptionsOrOfTheRows) {
  UnknownIn unknown = UnknownIn::kNone;
  v1::FinetuneJob job = *NormalizeFinetune(Tags(), 1);
  const v1::Dataset rows = Rows(v1::DATASET_KIND_TAGS, {"B-PER", "O"});
  ASSERT_TRUE(CompleteFinetune(job, rows, std::nullopt, &unknown).ok());
  EXPECT_THAT(job.labels(), ElementsAre("B-PER", "O"));
  EXPECT_EQ(unknown, UnknownIn::kNone);

  v1::FinetuneJob request = Tags();
  for (const char* tag : {"O", "B-PER", "I-PER"}) request.mutable_token_classification()->add_labels(tag);
  job = *NormalizeFinetune(request, 1);
  ASSERT_TRUE(CompleteFinetune(job, rows, std::nullopt, &unknown).ok());
  EXPECT_THAT(job.labels(), ElementsAre("O", "B-PER", "I-PER"));
  EXPECT_EQ(unknown, UnknownIn::kNone);
  // The caller reads the rows and names the one that has the tag.
  ASSERT_TRUE(CompleteFinetune(job, rows, Rows(v1::DATASET_KIND_TAGS, {"B-LOC"}), &unknown).ok());
  EXPECT_EQ(unknown, UnknownIn::kValidation);
  ASSERT_TRUE(CompleteFinetune(job, Rows(v1::DATASET_KIND_TAGS, {"B-LOC", "O"}), std::nullopt, &unknown).ok());
  EXPECT_EQ(unknown, UnknownIn::kTrain);

  job = *NormalizeFinetune(Answers(), 1);
  ASSERT_TRUE(CompleteFinetune(job, Rows(v1::DATASET_KIND_ANSWERS), std::nullopt, &unknown).ok());
  EXPECT_THAT(job.labels(), ElementsAre("start", "end"));
}

TEST(SpanRequestTest, DataSetsOfOtherRowsAreRefused) {
  UnknownIn unknown = UnknownIn::kNone;
  v1::FinetuneJob job = *NormalizeFinetune(Tags(), 1);
  absl::Status status = CompleteFinetune(job, Rows(v1::DATASET_KIND_ANSWERS), std::nullopt, &unknown);
  EXPECT_EQ(GetField(status), "finetune_job.train_dataset");
  EXPECT_THAT(std::string(status.message()), HasSubstr("words and tags"));
  status = CompleteFinetune(job, Rows(v1::DATASET_KIND_TAGS, {"O", "B-A"}), Rows(v1::DATASET_KIND_RECORDS), &unknown);
  EXPECT_EQ(GetField(status), "finetune_job.validation_dataset");
  status = CompleteFinetune(job, Rows(v1::DATASET_KIND_TAGS, {"O"}), std::nullopt, &unknown);
  EXPECT_EQ(GetField(status), "finetune_job.train_dataset");
  EXPECT_THAT(std::string(status.message()), HasSubstr("at least 2"));
  v1::Dataset empty = Rows(v1::DATASET_KIND_ANSWERS);
  empty.set_row_count(0);
  job = *NormalizeFinetune(Answers(), 1);
  EXPECT_THAT(std::string(CompleteFinetune(job, empty, std::nullopt, &unknown).message()), HasSubstr("no rows"));
}

class BadTags : public ::testing::TestWithParam<BadField> {};
TEST_P(BadTags, AreNamed) { ExpectNamed(Tags(), GetParam()); }
INSTANTIATE_TEST_SUITE_P(
    Spans, BadTags,
    ::testing::Values(BadField{"finetune_job.token_classification.labels", Reason::kOptionInvalid, "from 2",
                               [](v1::FinetuneJob& job) { job.mutable_token_classification()->add_labels("O"); }},
                      BadField{"finetune_job.token_classification.labels[1]", Reason::kOptionInvalid, "twice",
                               [](v1::FinetuneJob& job) {
                                 for (int i = 0; i < 2; ++i) job.mutable_token_classification()->add_labels("O");
                               }},
                      BadField{"finetune_job.token_classification.labels[1]", Reason::kOptionInvalid, "S-PER",
                               [](v1::FinetuneJob& job) {
                                 for (const char* tag : {"O", "S-PER"})
                                   job.mutable_token_classification()->add_labels(tag);
                               }},
                      BadField{"finetune_job.token_classification.labels[0]", Reason::kOptionInvalid, "longer than",
                               [](v1::FinetuneJob& job) {
                                 job.mutable_token_classification()->add_labels("B-" + std::string(300, 'x'));
                                 job.mutable_token_classification()->add_labels("O");
                               }},
                      BadField{"finetune_job.token_classification.crf", Reason::kUnsupported, "chain",
                               [](v1::FinetuneJob& job) {
                                 job.set_adapter("bases/tagger");
                                 job.set_method(v1::METHOD_FULL);
                                 job.mutable_token_classification()->set_crf(true);
                               }},
                      BadField{"finetune_job.training.multi_label", Reason::kFieldInvalid,
                               "TASK_SEQUENCE_CLASSIFICATION",
                               [](v1::FinetuneJob& job) { job.mutable_training()->set_multi_label(true); }},
                      BadField{"finetune_job.question_answering", Reason::kFieldInvalid, "TASK_QUESTION_ANSWERING",
                               [](v1::FinetuneJob& job) { job.mutable_question_answering()->set_doc_stride(4); }}));

class BadAnswers : public ::testing::TestWithParam<BadField> {};
TEST_P(BadAnswers, AreNamed) { ExpectNamed(Answers(), GetParam()); }
INSTANTIATE_TEST_SUITE_P(
    Spans, BadAnswers,
    ::testing::Values(BadField{"finetune_job.question_answering.doc_stride", Reason::kOptionInvalid, "from 1",
                               [](v1::FinetuneJob& job) { job.mutable_question_answering()->set_doc_stride(0); }},
                      BadField{"finetune_job.token_classification", Reason::kFieldInvalid, "TASK_TOKEN_CLASSIFICATION",
                               [](v1::FinetuneJob& job) { job.mutable_token_classification()->set_crf(true); }}));

}  // namespace
}  // namespace tenon::server
