// Creating jobs: what is refused, what is stored, what is queued.
#include <gmock/gmock.h>

#include "common/formats/status.h"
#include "tests/server/app_jobs/rig.h"

namespace tenon::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CreateTest : public Rig {
 protected:
  int CountJobs() { return jobs_->ListFinetune("default", {})->finetune_jobs_size(); }
  void ExpectRefused(const v1::CreateFinetuneJobRequest& request, Reason reason, const std::string& field) {
    const absl::Status status = jobs_->CreateFinetune("default", request).status();
    EXPECT_EQ(GetReason(status), reason) << status;
    EXPECT_EQ(GetField(status), field) << status;
    EXPECT_EQ(CountJobs(), 0) << "nothing is stored";
  }
};

TEST_F(CreateTest, AnswersWithTheQueuedJobAndItsDefaults) {
  const v1::FinetuneJob job = Create(NewFinetune("j1"));
  EXPECT_EQ(job.name(), "finetuneJobs/j1");
  EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(job.queue().position(), 1);
  EXPECT_EQ(job.queue().reason(), v1::WAITING_REASON_NO_WORKER);
  EXPECT_THAT(job.labels(), ElementsAre("neg", "pos"));
  EXPECT_TRUE(job.training().has_seed());
  EXPECT_EQ(Get("j1").training().seed(), job.training().seed());
  EXPECT_THAT(History("finetuneJobs/j1"), ElementsAre("VALIDATING", "QUEUED"));
}

TEST_F(CreateTest, DrawsAnIdWhenNoneIsGiven) {
  const v1::FinetuneJob first = Create(NewFinetune()), second = Create(NewFinetune());
  EXPECT_NE(first.name(), second.name());
  EXPECT_NE(first.training().seed(), second.training().seed());
}

TEST_F(CreateTest, TheSameRequestIdAnswersWithTheSameJob) {
  auto request = NewFinetune();
  request.set_request_id("key");
  const v1::FinetuneJob first = Create(request);
  Restart();
  const v1::FinetuneJob second = Create(request);
  EXPECT_EQ(first.name(), second.name());
  EXPECT_EQ(first.training().seed(), second.training().seed());
  EXPECT_EQ(CountJobs(), 1);
  request.mutable_finetune_job()->set_adapter("another");
  EXPECT_EQ(GetReason(jobs_->CreateFinetune("default", request).status()), Reason::kRequestIdReused);
}

TEST_F(CreateTest, ALongRequestIdIsRefused) {
  auto request = NewFinetune("j1");
  request.set_request_id(std::string(129, 'k'));
  ExpectRefused(request, Reason::kFieldInvalid, "request_id");
}

TEST_F(CreateTest, LoraOptionsAreBounded) {
  auto request = NewFinetune("j1");
  for (int i = 0; i < 5000; ++i) {
    request.mutable_finetune_job()->mutable_lora()->add_target_modules("layer." + std::to_string(i));
  }
  ExpectRefused(request, Reason::kOptionInvalid, "finetune_job.lora");
}

TEST_F(CreateTest, AnIdIsTakenOnce) {
  Create(NewFinetune("j1"));
  const absl::Status status = jobs_->CreateFinetune("default", NewFinetune("j1")).status();
  EXPECT_EQ(GetReason(status), Reason::kAlreadyExists);
  EXPECT_EQ(GetField(status), "finetune_job_id");
}

TEST_F(CreateTest, ValidateOnlyStoresNothing) {
  auto request = NewFinetune("j1");
  request.set_validate_only(true);
  const auto job = jobs_->CreateFinetune("default", request);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->lora().r(), 8);
  EXPECT_EQ(CountJobs(), 0);
  request.mutable_finetune_job()->set_train_dataset("missing");
  ExpectRefused(request, Reason::kNotFound, "finetune_job.train_dataset");
}

TEST_F(CreateTest, RefusesWhatIsNotThere) {
  auto request = NewFinetune();
  request.mutable_finetune_job()->set_base("missing");
  ExpectRefused(request, Reason::kNotFound, "finetune_job.base");
  request = NewFinetune();
  request.mutable_finetune_job()->set_train_dataset("missing");
  ExpectRefused(request, Reason::kNotFound, "finetune_job.train_dataset");
  request = NewFinetune();
  request.mutable_finetune_job()->set_validation_dataset("missing");
  ExpectRefused(request, Reason::kNotFound, "finetune_job.validation_dataset");
  request = NewFinetune("Not An Id");
  ExpectRefused(request, Reason::kIdInvalid, "finetune_job_id");
}

TEST_F(CreateTest, RefusesAnAdapterOfAnotherBase) {
  PutAdapter("taken", "b2", {"a", "b"});
  ExpectRefused(NewFinetune("", "taken"), Reason::kBaseMismatch, "finetune_job.adapter");
}

TEST_F(CreateTest, NamesTheRowWhoseLabelIsUnknown) {
  PutDataset("odd", "{\"text\":\"x\",\"label\":\"pos\"}\n{\"text\":\"y\",\"label\":\"maybe\"}\n", {"maybe", "pos"});
  auto request = NewFinetune();
  request.mutable_finetune_job()->set_validation_dataset("odd");
  const absl::Status status = jobs_->CreateFinetune("default", request).status();
  EXPECT_EQ(GetReason(status), Reason::kLabelUnknown) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("2")) << "the row's number";
  EXPECT_THAT(std::string(status.message()), HasSubstr("maybe"));
  EXPECT_EQ(CountJobs(), 0);
}

TEST_F(CreateTest, AFullQueueRefusesButStillKnowsItsJobs) {
  Stop();
  options_.max_queued_jobs = 2;
  OpenStore();
  Start();
  auto first = NewFinetune("j1");
  first.set_request_id("key");
  Create(first);
  Create(NewFinetune("j2"));
  EXPECT_EQ(GetReason(jobs_->CreateFinetune("default", NewFinetune("j3")).status()), Reason::kQueueFull);
  EXPECT_EQ(jobs_->CreateFinetune("default", first)->name(), "finetuneJobs/j1") << "a retry is no new job";
  ASSERT_TRUE(jobs_->CancelFinetune("default", "j1").ok());
  EXPECT_TRUE(jobs_->CreateFinetune("default", NewFinetune("j3")).ok());
}

TEST_F(CreateTest, TenantsDoNotSeeEachOther) {
  Create(NewFinetune("j1"));
  EXPECT_EQ(GetReason(jobs_->GetFinetune("other", "j1").status()), Reason::kNotFound);
  EXPECT_EQ(GetReason(jobs_->CancelFinetune("other", "j1").status()), Reason::kNotFound);
  EXPECT_EQ(GetReason(jobs_->Events("other", "finetuneJobs/j1", 0, 10).status()), Reason::kNotFound);
  EXPECT_EQ(jobs_->ListFinetune("other", {})->finetune_jobs_size(), 0);
  EXPECT_EQ(GetReason(jobs_->GetEval("default", "j1").status()), Reason::kNotFound);
}

TEST_F(CreateTest, ListsNewestFirstInPages) {
  for (const char* id : {"j1", "j2", "j3"}) Create(NewFinetune(id));
  v1::ListFinetuneJobsRequest request;
  request.set_page_size(2);
  const auto first = *jobs_->ListFinetune("default", request);
  ASSERT_EQ(first.finetune_jobs_size(), 2);
  EXPECT_EQ(first.finetune_jobs(0).name(), "finetuneJobs/j3");
  EXPECT_EQ(first.finetune_jobs(0).queue().position(), 3);
  request.set_page_token(first.next_page_token());
  const auto second = *jobs_->ListFinetune("default", request);
  ASSERT_EQ(second.finetune_jobs_size(), 1);
  EXPECT_EQ(second.finetune_jobs(0).name(), "finetuneJobs/j1");
  EXPECT_EQ(second.next_page_token(), "");
  request.set_page_token("nonsense");
  EXPECT_EQ(GetReason(jobs_->ListFinetune("default", request).status()), Reason::kPageTokenInvalid);
  request.set_page_size(-1);
  EXPECT_EQ(GetField(jobs_->ListFinetune("default", request).status()), "page_size");
}

TEST_F(CreateTest, TenantsTakeTurns) {
  PutBase("minilm", "b1", "other");
  PutDataset("train", "{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\"b\",\"label\":\"y\"}\n", {"x", "y"}, "other");
  for (const char* id : {"a1", "a2", "a3"}) Create(NewFinetune(id));
  Create(NewFinetune("b1"), "other");
  EXPECT_EQ(Get("a1").queue().position(), 1);
  EXPECT_EQ(Get("b1", "other").queue().position(), 2) << "not behind all of the first tenant's";
  EXPECT_EQ(Get("a2").queue().position(), 3);
  std::vector<std::string> order;
  Connect("s1");
  for (int i = 0; i < 4; ++i) {
    const auto sent = AwaitSent();
    order.push_back(sent.message.assign().job());
    auto stopped = NewReport("s1", order.back(), 1);
    stopped.mutable_failure()->set_reason("INTERNAL");
    ASSERT_TRUE(ReportAndSettle(stopped).ok());
  }
  EXPECT_THAT(order, ElementsAre("finetuneJobs/a1", "finetuneJobs/b1", "finetuneJobs/a2", "finetuneJobs/a3"));
}

class CreateEvalTest : public Rig {
 protected:
  CreateEvalTest() {
    PutAdapter("first", "b1", {"neg", "pos"});
    PutAdapter("second", "b1", {"neg", "neutral", "pos"});
  }
  static v1::CreateEvalJobRequest NewEval(const std::vector<std::string>& adapters) {
    v1::CreateEvalJobRequest request;
    request.set_eval_job_id("e1");
    for (const std::string& adapter : adapters) {
      request.mutable_eval_job()->mutable_classification()->add_adapters(adapter);
    }
    request.mutable_eval_job()->mutable_classification()->set_dataset("train");
    return request;
  }
};

TEST_F(CreateEvalTest, PinsRevisionsAndReportsInTheirOrder) {
  const auto created = jobs_->CreateEval("default", NewEval({"second", "adapters/first"}));
  ASSERT_TRUE(created.ok()) << created.status();
  const std::string pinned = created->classification().adapters(0);
  EXPECT_THAT(pinned, HasSubstr("adapters/second/revisions/"));
  Connect("s1");
  const auto assign = AwaitSent().message.assign();
  ASSERT_EQ(assign.eval().adapters_size(), 2);
  EXPECT_THAT(pinned, HasSubstr(assign.eval().adapters(0).digest()));
  EXPECT_EQ(assign.eval().adapters(0).files_size(), 1);
  EXPECT_EQ(assign.base_digest(), "b1");
  auto report = NewReport("s1", "evalJobs/e1", 1);
  report.mutable_eval_success()->add_results()->set_examples(2);
  report.mutable_eval_success()->add_results()->set_examples(2);
  ASSERT_TRUE(jobs_->Report(report).ok());
  const auto job = *jobs_->GetEval("default", "e1");
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  ASSERT_EQ(job.results_size(), 2);
  EXPECT_EQ(job.results(0).model().adapter(), "adapters/second");
  EXPECT_EQ(job.results(1).model().adapter(), "adapters/first");
}

TEST_F(CreateEvalTest, RefusesWhatCannotBeMeasured) {
  const auto refused = [&](const v1::CreateEvalJobRequest& request) {
    return GetReason(jobs_->CreateEval("default", request).status());
  };
  EXPECT_EQ(refused(NewEval({"missing"})), Reason::kNotFound);
  PutAdapter("elsewhere", "b2", {"neg", "pos"});
  EXPECT_EQ(refused(NewEval({"first", "elsewhere"})), Reason::kBaseMismatch);
  PutAdapter("plain", "b1", {});
  EXPECT_EQ(refused(NewEval({"plain"})), Reason::kNoClassifier);
  PutAdapter("narrow", "b1", {"pos", "other"});
  const absl::Status status = jobs_->CreateEval("default", NewEval({"narrow"})).status();
  EXPECT_EQ(GetReason(status), Reason::kLabelUnknown);
  EXPECT_THAT(std::string(status.message()), HasSubstr("neg"));
  EXPECT_EQ(jobs_->ListEval("default", {})->eval_jobs_size(), 0);
}

}  // namespace
}  // namespace tenon::server
