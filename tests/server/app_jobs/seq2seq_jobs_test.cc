// Jobs on texts that models write: templates against stored data, previews, what workers are told, and what is kept.
#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "server/app/catalog_requests.h"
#include "tests/server/app_jobs/rig.h"

namespace tenon::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Seq2SeqJobs : public Rig {
 protected:
  Seq2SeqJobs() {
    PutWriter("flan", "t5");
    PutRecords("talks", "{\"dialogue\":\"a: hi\",\"summary\":\"hi\"}\n{\"dialogue\":\"b: no\",\"summary\":\"no\"}\n");
  }
  void PutWriter(const std::string& id, const std::string& digest) {
    internal::v1::BaseRecord base;
    base.mutable_base()->set_name("bases/" + id);
    base.mutable_base()->set_digest(digest);
    base.mutable_base()->add_tasks(v1::TASK_SEQ2SEQ);
    Insert(MakeRecord("default", kBaseKind, id, "", clock_.Now(), base));
    ASSERT_TRUE(models_->RefreshBase(*store_, "default", id).ok());
  }
  void PutRecords(const std::string& id, const std::string& rows,
                  const std::vector<std::string>& fields = {"dialogue", "summary"}) {
    internal::v1::DatasetRecord dataset;
    dataset.set_format(v1::DATASET_FORMAT_JSONL);
    dataset.mutable_dataset()->set_name("datasets/" + id);
    dataset.mutable_dataset()->set_kind(v1::DATASET_KIND_RECORDS);
    dataset.mutable_dataset()->set_sha256(PutBlob(id, rows).sha256());
    dataset.mutable_dataset()->set_row_count(std::count(rows.begin(), rows.end(), '\n'));
    for (const std::string& field : fields) dataset.mutable_dataset()->add_fields(field);
    Insert(MakeRecord("default", kDatasetKind, id, "", clock_.Now(), dataset));
  }
  void PutTalker(const std::string& id, const std::optional<v1::TextTemplate>& text_template,
                 const std::string& base_digest = "t5") {
    NewRevision revision;
    revision.adapter_id = id;
    revision.base = "bases/flan";
    revision.base_digest = base_digest;
    revision.task = v1::TASK_SEQ2SEQ;
    revision.method = v1::METHOD_LORA;
    revision.text_template = text_template;
    revision.files = {PutBlob("adapter_model.safetensors", "weights of " + id)};
    ASSERT_TRUE(store_
                    ->Write([&](Transaction& transaction) {
                      return PutRevision(transaction, "default", revision, clock_.Now()).status();
                    })
                    .ok());
    ASSERT_TRUE(models_->RefreshAdapter(*store_, "default", id).ok());
  }
  static v1::TextTemplate Template(const std::string& input, const std::string& target) {
    v1::TextTemplate text_template;
    text_template.set_input(input);
    text_template.set_target(target);
    return text_template;
  }
  static v1::CreateFinetuneJobRequest NewTalks(const std::string& id = "j1") {
    v1::CreateFinetuneJobRequest request;
    request.set_finetune_job_id(id);
    v1::FinetuneJob& job = *request.mutable_finetune_job();
    job.set_base("flan");
    job.set_adapter("talker");
    job.set_task(v1::TASK_SEQ2SEQ);
    job.set_method(v1::METHOD_LORA);
    job.set_train_dataset("talks");
    *job.mutable_text_template() = Template("summarize: {dialogue}", "{summary}");
    return request;
  }
  static v1::CreateEvalJobRequest NewEval(const std::vector<std::string>& models) {
    v1::CreateEvalJobRequest request;
    request.set_eval_job_id("e1");
    v1::Seq2SeqEval& eval = *request.mutable_eval_job()->mutable_seq2seq();
    for (const std::string& model : models) eval.add_models(model);
    eval.set_dataset("talks");
    return request;
  }
  void ExpectRefused(const v1::CreateFinetuneJobRequest& request, Reason reason, const std::string& field) {
    const absl::Status status = jobs_->CreateFinetune("default", request).status();
    EXPECT_EQ(GetReason(status), reason) << status;
    EXPECT_EQ(GetField(status), field) << status;
    EXPECT_EQ(jobs_->ListFinetune("default", {})->finetune_jobs_size(), 0);
  }
  absl::Status EvalRefused(const v1::CreateEvalJobRequest& request) {
    const absl::Status status = jobs_->CreateEval("default", request).status();
    EXPECT_EQ(jobs_->ListEval("default", {})->eval_jobs_size(), 0) << status;
    return status;
  }
};

TEST_F(Seq2SeqJobs, ABartIsNotTrained) {
  internal::v1::BaseRecord bart;
  bart.mutable_base()->set_name("bases/bart");
  bart.mutable_base()->set_digest("bart");
  bart.mutable_base()->set_model_type("bart");
  bart.mutable_base()->add_tasks(v1::TASK_SEQ2SEQ);
  Insert(MakeRecord("default", kBaseKind, "bart", "", clock_.Now(), bart));
  ASSERT_TRUE(models_->RefreshBase(*store_, "default", "bart").ok());
  v1::CreateFinetuneJobRequest request = NewTalks();
  request.mutable_finetune_job()->set_base("bart");
  const absl::Status status = jobs_->CreateFinetune("default", request).status();
  EXPECT_EQ(GetReason(status), Reason::kUnsupported) << status;
  EXPECT_EQ(GetField(status), "finetune_job.base");
  EXPECT_THAT(std::string(status.message()), HasSubstr("bart"));
}

TEST_F(Seq2SeqJobs, ThePreviewIsStoredWithTheJob) {
  const v1::FinetuneJob job = Create(NewTalks());
  ASSERT_EQ(job.preview_size(), 2);
  EXPECT_EQ(job.preview(0).input(), "summarize: a: hi");
  EXPECT_EQ(job.preview(1).target(), "no");
  EXPECT_EQ(Get("j1").preview(1).input(), "summarize: b: no");
  EXPECT_TRUE(job.labels().empty());
}

TEST_F(Seq2SeqJobs, ValidateOnlyShowsThePreviewAndStoresNothing) {
  auto request = NewTalks();
  request.set_validate_only(true);
  const auto job = jobs_->CreateFinetune("default", request);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->preview_size(), 2);
  EXPECT_EQ(jobs_->ListFinetune("default", {})->finetune_jobs_size(), 0);
}

TEST_F(Seq2SeqJobs, APreviewHasThreeRowsAndIsCut) {
  std::string rows;
  for (int i = 0; i < 5; ++i) {
    std::string text;
    for (int c = 0; c < 600; ++c) text += "é" + std::to_string(i);
    absl::StrAppend(&rows, "{\"dialogue\":\"", text, "\",\"summary\":\"", i, "\"}\n");
  }
  PutRecords("long", rows);
  auto request = NewTalks();
  request.mutable_finetune_job()->set_train_dataset("long");
  const v1::FinetuneJob job = Create(request);
  ASSERT_EQ(job.preview_size(), 3);
  EXPECT_EQ(job.preview(2).target(), "2");
  const std::string& input = job.preview(0).input();
  EXPECT_EQ(std::count_if(input.begin(), input.end(), [](char c) { return (c & 0xC0) != 0x80; }), 1001) << input;
  EXPECT_EQ(input.substr(input.size() - 3), "…");
}

TEST_F(Seq2SeqJobs, AClassificationSetFillsTemplates) {
  auto request = NewTalks();
  request.mutable_finetune_job()->set_train_dataset("train");
  *request.mutable_finetune_job()->mutable_text_template() = Template("mood of {text}", "{label}");
  const v1::FinetuneJob job = Create(request);
  ASSERT_EQ(job.preview_size(), 2);
  EXPECT_EQ(job.preview(0).input(), "mood of good");
  EXPECT_EQ(job.preview(1).target(), "neg");
}

TEST_F(Seq2SeqJobs, WhatDoesNotFitIsNamed) {
  auto request = NewTalks();
  request.mutable_finetune_job()->mutable_text_template()->set_input("{text}");
  ExpectRefused(request, Reason::kFieldInvalid, "finetune_job.text_template.input");
  request = NewTalks();
  request.mutable_finetune_job()->set_base("minilm");
  ExpectRefused(request, Reason::kNotGenerative, "finetune_job.base");
  request = NewFinetune();
  request.mutable_finetune_job()->set_base("flan");
  ExpectRefused(request, Reason::kUnsupported, "finetune_job.task");
  request = NewTalks();
  request.mutable_finetune_job()->set_train_dataset("missing");
  ExpectRefused(request, Reason::kNotFound, "finetune_job.train_dataset");
  request = NewFinetune();
  request.mutable_finetune_job()->set_train_dataset("talks");
  ExpectRefused(request, Reason::kFieldInvalid, "finetune_job.train_dataset");
}

TEST_F(Seq2SeqJobs, TheWorkerGetsTheTemplateAndNoPreview) {
  Create(NewTalks());
  Connect("s1", {}, "t5");
  const auto work = AwaitSent().message.assign().finetune();
  EXPECT_EQ(work.spec().text_template().input(), "summarize: {dialogue}");
  EXPECT_EQ(work.spec().training().max_target_tokens(), 128);
  EXPECT_EQ(work.spec().preview_size(), 0);
  EXPECT_EQ(work.train().kind(), v1::DATASET_KIND_RECORDS);
}

TEST_F(Seq2SeqJobs, TheRevisionKeepsTheTemplate) {
  Create(NewTalks());
  Connect("s1", {}, "t5");
  AwaitSent();
  ASSERT_TRUE(ReportAndSettle(Success("s1", "finetuneJobs/j1", 1)).ok());
  const auto model = models_->ResolveAdapter("default", "talker", "");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->task, v1::TASK_SEQ2SEQ);
  ASSERT_TRUE(model->text_template.has_value());
  EXPECT_EQ(model->text_template->input(), "summarize: {dialogue}");
  v1::Adapter adapter;
  ASSERT_TRUE(store_
                  ->Read([&](Snapshot& snapshot) -> absl::Status {
                    ASSIGN_OR_RETURN(adapter, ReadAdapter(snapshot, "default", "talker"));
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_EQ(adapter.task(), v1::TASK_SEQ2SEQ);
  EXPECT_EQ(adapter.revisions(0).text_template().target(), "{summary}");
  EXPECT_EQ(adapter.revisions(0).labels_size(), 0);
}

// --- Evaluations

TEST_F(Seq2SeqJobs, AnEvaluationPinsItsModelsAndKeepsIntervals) {
  PutTalker("talker", Template("summarize: {dialogue}", "{summary}"));
  auto request = NewEval({"bases/flan", "talker"});
  v1::Seq2SeqEval& eval = *request.mutable_eval_job()->mutable_seq2seq();
  *eval.mutable_text_template() = Template("say {dialogue}", "{summary}");
  eval.mutable_generation()->set_num_beams(4);
  eval.set_max_input_tokens(77);
  eval.add_labels("hi");
  eval.set_max_rows(1);
  const auto created = jobs_->CreateEval("default", request);
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_EQ(created->seq2seq().models(0), "bases/flan");
  EXPECT_THAT(created->seq2seq().models(1), HasSubstr("adapters/talker/revisions/"));

  Connect("s1", {}, "t5");
  const auto assign = AwaitSent().message.assign();
  const auto& work = assign.eval();
  EXPECT_EQ(assign.base_digest(), "t5");
  ASSERT_EQ(work.adapters_size(), 2);
  EXPECT_EQ(work.adapters(0).digest(), "");
  EXPECT_EQ(work.adapters(0).files_size(), 0);
  EXPECT_THAT(created->seq2seq().models(1), HasSubstr(work.adapters(1).digest()));
  EXPECT_EQ(work.max_input_tokens(), 77);
  EXPECT_EQ(work.dataset().kind(), v1::DATASET_KIND_RECORDS);
  EXPECT_EQ(work.seq2seq().models_size(), 0);
  EXPECT_EQ(work.seq2seq().text_template().input(), "say {dialogue}");
  EXPECT_EQ(work.seq2seq().generation().num_beams(), 4);
  EXPECT_THAT(work.seq2seq().labels(), ElementsAre("hi"));
  EXPECT_EQ(work.seq2seq().max_rows(), 1);

  auto report = NewReport("s1", "evalJobs/e1", 1);
  for (int i = 0; i < 2; ++i) {
    auto& interval = *report.mutable_eval_success()->add_results()->add_intervals();
    interval.set_name("rouge1");
    interval.set_low(0.1);
    interval.set_high(0.2);
  }
  ASSERT_TRUE(ReportAndSettle(report).ok());
  const auto job = *jobs_->GetEval("default", "e1");
  ASSERT_EQ(job.results_size(), 2);
  EXPECT_EQ(job.results(0).model().base(), "bases/flan");
  EXPECT_EQ(job.results(0).model().adapter(), "");
  EXPECT_EQ(job.results(1).model().adapter(), "adapters/talker");
  EXPECT_DOUBLE_EQ(job.results(1).intervals(0).high(), 0.2);
}

TEST_F(Seq2SeqJobs, EachAdaptersOwnTemplateIsTheDefault) {
  PutTalker("talker", Template("summarize: {dialogue}", "{summary}"));
  EXPECT_TRUE(jobs_->CreateEval("default", NewEval({"adapters/talker"})).ok());
}

TEST_F(Seq2SeqJobs, AnEvaluationThatCannotBeMeasuredIsRefusedByName) {
  const auto expect = [&](const v1::CreateEvalJobRequest& request, Reason reason, const std::string& field,
                          const std::string& message) {
    const absl::Status status = EvalRefused(request);
    EXPECT_EQ(GetReason(status), reason) << status;
    EXPECT_EQ(GetField(status), field) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  };
  PutTalker("talker", Template("{dialogue}", "{summary}"));
  PutTalker("other", Template("{text}", "{summary}"));
  PutTalker("plain", std::nullopt);
  PutTalker("served", Template("{dialogue}", ""));
  PutTalker("elsewhere", Template("{dialogue}", "{summary}"), "t5 of another");
  PutAdapter("news", "b1", {"a", "b"});
  const std::string models = "eval_job.seq2seq.models", own = "eval_job.seq2seq.text_template";
  expect(NewEval({"missing"}), Reason::kNotFound, models, "missing");
  expect(NewEval({"bases/missing"}), Reason::kNotFound, models, "missing");
  expect(NewEval({"news"}), Reason::kNotGenerative, models, "news");
  expect(NewEval({"talker", "elsewhere"}), Reason::kBaseMismatch, models, "elsewhere");
  expect(NewEval({"talker", "bases/flan"}), Reason::kFieldRequired, own, "bases/flan has no template");
  expect(NewEval({"plain"}), Reason::kFieldRequired, own, "plain has no template");
  expect(NewEval({"served"}), Reason::kFieldRequired, own, "served has no template for targets");
  expect(NewEval({"other"}), Reason::kFieldInvalid, "eval_job.seq2seq.dataset",
         "of other: text_template.input uses {text}; the data set has {dialogue}, {summary}");
  auto request = NewEval({"talker"});
  *request.mutable_eval_job()->mutable_seq2seq()->mutable_text_template() = Template("{dialogue}", "{label}");
  expect(request, Reason::kFieldInvalid, own + ".target", "{label}");
  request = NewEval({"talker"});
  request.mutable_eval_job()->mutable_seq2seq()->set_dataset("missing");
  expect(request, Reason::kNotFound, "eval_job.seq2seq.dataset", "missing");
}

TEST_F(Seq2SeqJobs, WhatAnOpenEvaluationNamesStays) {
  PutTalker("talker", Template("{dialogue}", "{summary}"));
  PutRecords("rows", "{\"dialogue\":\"a\",\"summary\":\"b\"}\n");
  auto request = NewEval({"talker", "bases/flan"});
  *request.mutable_eval_job()->mutable_seq2seq()->mutable_text_template() = Template("{dialogue}", "{summary}");
  ASSERT_TRUE(jobs_->CreateEval("default", request).ok());
  const auto used = [&](auto check, const std::string& id) {
    return GetReason(store_->Read([&](Snapshot& snapshot) { return check(snapshot, "default", id); }));
  };
  EXPECT_EQ(used(CheckAdapterUnused, "talker"), Reason::kInUse);
  EXPECT_EQ(used(CheckDatasetUnused, "talks"), Reason::kInUse);
  EXPECT_EQ(used(CheckDatasetUnused, "rows"), Reason::kUnspecified);
  ASSERT_TRUE(jobs_->CancelEval("default", "e1").ok());
  EXPECT_EQ(used(CheckAdapterUnused, "talker"), Reason::kUnspecified);
  EXPECT_EQ(used(CheckDatasetUnused, "talks"), Reason::kUnspecified);
}

TEST_F(Seq2SeqJobs, ABaseThatIsMeasuredAloneStays) {
  auto request = NewEval({"bases/flan"});
  *request.mutable_eval_job()->mutable_seq2seq()->mutable_text_template() = Template("{dialogue}", "{summary}");
  ASSERT_TRUE(jobs_->CreateEval("default", request).ok());
  const auto check = [&] {
    return GetReason(store_->Read([](Snapshot& snapshot) { return CheckBaseUnused(snapshot, "default", "flan"); }));
  };
  EXPECT_EQ(check(), Reason::kInUse);
  ASSERT_TRUE(jobs_->CancelEval("default", "e1").ok());
  EXPECT_EQ(check(), Reason::kUnspecified);
}

}  // namespace
}  // namespace tenon::server
