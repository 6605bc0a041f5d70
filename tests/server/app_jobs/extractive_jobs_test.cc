// Jobs that train a scorer of sentences: what they stand on, what workers are told, and what is kept of them.
#include <gmock/gmock.h>

#include "common/formats/status.h"
#include "tests/server/app_jobs/rig.h"

namespace tenon::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ExtractiveJobs : public Rig {
 protected:
  ExtractiveJobs() {
    internal::v1::DatasetRecord dataset;
    dataset.set_format(v1::DATASET_FORMAT_JSONL);
    dataset.mutable_dataset()->set_name("datasets/talks");
    dataset.mutable_dataset()->set_kind(v1::DATASET_KIND_RECORDS);
    dataset.mutable_dataset()->set_sha256(PutBlob("talks", "{\"dialogue\":\"Hi. No.\",\"summary\":\"hi\"}\n").sha256());
    dataset.mutable_dataset()->set_row_count(1);
    for (const char* field : {"dialogue", "summary"}) dataset.mutable_dataset()->add_fields(field);
    Insert(MakeRecord("default", kDatasetKind, "talks", "", clock_.Now(), dataset));
    internal::v1::BaseRecord writer;
    writer.mutable_base()->set_name("bases/flan");
    writer.mutable_base()->set_digest("t5");
    writer.mutable_base()->add_tasks(v1::TASK_SEQ2SEQ);
    Insert(MakeRecord("default", kBaseKind, "flan", "", clock_.Now(), writer));
    EXPECT_TRUE(models_->RefreshBase(*store_, "default", "flan").ok());
  }
  static v1::CreateFinetuneJobRequest NewMinutes() {
    v1::CreateFinetuneJobRequest request;
    request.set_finetune_job_id("j1");
    v1::FinetuneJob& job = *request.mutable_finetune_job();
    job.set_base("minilm");
    job.set_adapter("minutes");
    job.set_task(v1::TASK_EXTRACTIVE_SUMMARIZATION);
    job.set_method(v1::METHOD_LORA);
    job.set_train_dataset("talks");
    job.mutable_text_template()->set_input("{dialogue}");
    job.mutable_text_template()->set_target("{summary}");
    job.mutable_sentence_scorer()->set_neighbours(2);
    return request;
  }
  // A finished job's adapter, as the index has it.
  ResolvedModel Train() {
    Create(NewMinutes());
    Connect("s1");
    AwaitSent();
    auto report = Success("s1", "finetuneJobs/j1", 1);
    report.mutable_finetune_success()->clear_labels();
    for (const char* label : {"other", "extract"}) report.mutable_finetune_success()->add_labels(label);
    EXPECT_TRUE(ReportAndSettle(report).ok());
    return models_->ResolveAdapter("default", "minutes", "").value();
  }
};

TEST_F(ExtractiveJobs, ThePreviewShowsTextsAndSummaries) {
  auto request = NewMinutes();
  request.set_validate_only(true);
  const auto job = jobs_->CreateFinetune("default", request);
  ASSERT_TRUE(job.ok()) << job.status();
  ASSERT_EQ(job->preview_size(), 1);
  EXPECT_EQ(job->preview(0).input(), "Hi. No.");
  EXPECT_EQ(job->preview(0).target(), "hi");
  EXPECT_EQ(jobs_->ListFinetune("default", {})->finetune_jobs_size(), 0);
}

TEST_F(ExtractiveJobs, ABaseThatWritesIsRefused) {
  auto request = NewMinutes();
  request.mutable_finetune_job()->set_base("flan");
  const absl::Status status = jobs_->CreateFinetune("default", request).status();
  EXPECT_EQ(GetReason(status), Reason::kUnsupported) << status;
  EXPECT_EQ(GetField(status), "finetune_job.task");
  EXPECT_THAT(std::string(status.message()), HasSubstr("chosen by an encoder"));
}

TEST_F(ExtractiveJobs, TheWorkerGetsTemplateAndOptions) {
  Create(NewMinutes());
  Connect("s1");
  const auto work = AwaitSent().message.assign().finetune();
  EXPECT_EQ(work.spec().task(), v1::TASK_EXTRACTIVE_SUMMARIZATION);
  EXPECT_EQ(work.spec().text_template().target(), "{summary}");
  EXPECT_EQ(work.spec().sentence_scorer().neighbours(), 2);
  EXPECT_EQ(work.spec().preview_size(), 0);
}

TEST_F(ExtractiveJobs, TheAdapterIsAScorerOfTwoLabelsWithoutATemplate) {
  const ResolvedModel model = Train();
  EXPECT_EQ(model.task, v1::TASK_EXTRACTIVE_SUMMARIZATION);
  EXPECT_THAT(model.labels, ElementsAre("other", "extract"));
  EXPECT_FALSE(model.multi_label);
  EXPECT_FALSE(model.text_template.has_value());
  Restart();
  EXPECT_EQ(models_->ResolveAdapter("default", "minutes", "")->task, v1::TASK_EXTRACTIVE_SUMMARIZATION);
}

TEST_F(ExtractiveJobs, AScorerIsNotMeasuredAsAWriter) {
  Train();
  v1::CreateEvalJobRequest request;
  request.mutable_eval_job()->mutable_seq2seq()->add_models("minutes");
  request.mutable_eval_job()->mutable_seq2seq()->set_dataset("talks");
  absl::Status status = jobs_->CreateEval("default", request).status();
  EXPECT_EQ(GetReason(status), Reason::kNotGenerative) << status;
  EXPECT_EQ(GetField(status), "eval_job.seq2seq.models");
  EXPECT_THAT(std::string(status.message()), HasSubstr("chooses sentences (TASK_EXTRACTIVE_SUMMARIZATION)"));
  // Nor as a classifier: it never saw a bare text.
  request.mutable_eval_job()->mutable_classification()->add_adapters("minutes");
  request.mutable_eval_job()->mutable_classification()->set_dataset("train");
  status = jobs_->CreateEval("default", request).status();
  EXPECT_EQ(GetReason(status), Reason::kUnsupported) << status;
  EXPECT_EQ(GetField(status), "eval_job.classification.adapters");
}

TEST_F(ExtractiveJobs, AnAdapterKeepsItsTask) {
  Train();
  const absl::Status status = jobs_->CreateFinetune("default", NewFinetune("j2", "minutes")).status();
  EXPECT_EQ(GetReason(status), Reason::kTaskMismatch) << status;
  EXPECT_EQ(GetField(status), "finetune_job.adapter");
  auto again = NewMinutes();
  again.set_finetune_job_id("j3");
  EXPECT_TRUE(jobs_->CreateFinetune("default", again).ok());
}

TEST_F(ExtractiveJobs, ABaseWithoutAClassifierIsRefusedBeforeAWorkerSeesTheJob) {
  internal::v1::BaseRecord dpr;
  dpr.mutable_base()->set_name("bases/questions");
  dpr.mutable_base()->set_digest("d1");
  dpr.mutable_base()->set_model_type("dpr");
  Insert(MakeRecord("default", kBaseKind, "questions", "", clock_.Now(), dpr));
  auto scorer = NewMinutes(), classifier = NewFinetune("j2", "topics"), head = NewFinetune("j3", "probe");
  head.mutable_finetune_job()->set_method(v1::METHOD_HEAD);
  for (auto* request : {&scorer, &classifier, &head}) request->mutable_finetune_job()->set_base("questions");
  for (const auto* request : {&scorer, &classifier}) {
    const absl::Status status = jobs_->CreateFinetune("default", *request).status();
    EXPECT_EQ(GetReason(status), Reason::kUnsupported) << status;
    EXPECT_EQ(GetField(status), "finetune_job.method");
  }
  EXPECT_TRUE(jobs_->CreateFinetune("default", head).ok());
}

}  // namespace
}  // namespace tenon::server
