// Jobs of METHOD_FULL: their success is a base.
#include <gmock/gmock.h>

#include "common/formats/status.h"
#include "server/app/catalog_sweep.h"
#include "tests/server/app_jobs/rig.h"

namespace tenon::server {
namespace {

using ::testing::ElementsAre;

class FullTest : public Rig {
 protected:
  static v1::CreateFinetuneJobRequest NewFull(const std::string& id, const std::string& base) {
    auto request = NewFinetune(id, base);
    request.mutable_finetune_job()->set_method(v1::METHOD_FULL);
    return request;
  }
  void CreateAndAssign(const std::string& id = "j1", const std::string& base = "tickets") {
    Create(NewFull(id, base));
    Connect("s1");
    ASSERT_EQ(TakeSent().size(), 1u);
  }
  internal::v1::ReportJobRequest Made(int64_t term = 1) {
    auto report = NewReport("s1", "finetuneJobs/j1", term);
    auto& outcome = *report.mutable_finetune_success();
    *outcome.add_files() = PutBlob("config.json", "{}");
    *outcome.add_files() = PutBlob("model.safetensors", "weights");
    outcome.add_labels("neg");
    outcome.add_labels("pos");
    outcome.mutable_result()->set_best_step(7);
    return report;
  }
  absl::StatusOr<v1::Base> Base(const std::string& id) {
    v1::Base base;
    const absl::Status read = store_->Read([&](Snapshot& snapshot) -> absl::Status {
      ASSIGN_OR_RETURN(base, ReadBase(snapshot, "default", id));
      return absl::OkStatus();
    });
    if (!read.ok()) return read;
    return base;
  }
};

TEST_F(FullTest, SuccessMakesABaseInTheSameBreath) {
  CreateAndAssign();
  EXPECT_EQ(Get("j1").adapter(), "bases/tickets");
  std::atomic<bool> ready_when_told = true;
  const uint64_t watch = jobs_->Watch("default", "finetuneJobs/j1", [&] {
    ready_when_told = models_->ResolveBase("default", "tickets", "base").ok() && bases_changed_ > 0;
  });
  const auto report = Made();
  ASSERT_TRUE(jobs_->Report(report).ok());
  jobs_->Unwatch(watch);
  EXPECT_TRUE(ready_when_told) << "whoever hears of it may use it at once";

  const v1::FinetuneJob job = Get("j1");
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.result().base(), "bases/tickets");
  EXPECT_EQ(job.result().best_step(), 7);
  const auto model = models_->ResolveBase("default", "tickets", "base");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(model->labels, ElementsAre("neg", "pos"));
  EXPECT_EQ(model->task, v1::TASK_SEQUENCE_CLASSIFICATION);
  const auto base = Base("tickets");
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_EQ(base->files_size(), 2);
  EXPECT_EQ(base->size_bytes(), 9);
  EXPECT_FALSE(models_->ResolveAdapter("default", "tickets", "adapter").ok());
  EXPECT_THAT(History("finetuneJobs/j1"), ElementsAre("VALIDATING", "QUEUED", "RUNNING/LOADING", "SUCCEEDED"));

  // The answer was lost on the way: the worker says it again, also to the next process.
  EXPECT_TRUE(jobs_->Report(report).ok());
  Restart();
  EXPECT_TRUE(jobs_->Report(report).ok());
  EXPECT_EQ(Get("j1").SerializeAsString(), job.SerializeAsString());
  EXPECT_EQ(Base("tickets")->SerializeAsString(), base->SerializeAsString());
}

TEST_F(FullTest, ItsFilesStayAsLongAsTheBase) {
  CreateAndAssign();
  const auto report = Made();
  ASSERT_TRUE(jobs_->Report(report).ok());
  ASSERT_TRUE(SweepBlobs(*store_, *blobs_, absl::ZeroDuration()).ok());
  for (const v1::FileEntry& file : report.finetune_success().files()) EXPECT_TRUE(HasBlob(file)) << file.path();
  ASSERT_TRUE(
      store_->Write([](Transaction& transaction) { return transaction.Delete("default", kBaseKind, "tickets"); }).ok());
  ASSERT_TRUE(SweepBlobs(*store_, *blobs_, absl::ZeroDuration()).ok());
  for (const v1::FileEntry& file : report.finetune_success().files()) EXPECT_FALSE(HasBlob(file)) << file.path();
}

TEST_F(FullTest, ACheckpointsFileThatTheBaseHasToo) {
  Stop();
  options_.tick = absl::Milliseconds(1);
  OpenStore();
  Start();
  CreateAndAssign();
  const v1::FileEntry state = PutBlob("state", "step 50");
  auto checkpoint = NewReport("s1", "finetuneJobs/j1", 1);
  checkpoint.mutable_checkpoint()->set_step(50);
  const auto success = Made();
  *checkpoint.mutable_checkpoint()->add_files() = state;
  *checkpoint.mutable_checkpoint()->add_files() = success.finetune_success().files(1);
  ASSERT_TRUE(jobs_->Report(checkpoint).ok());
  ASSERT_TRUE(jobs_->Report(success).ok());
  clock_.Advance(options_.blob_grace);
  while (HasBlob(state)) loop_->Run([] {});
  EXPECT_TRUE(HasBlob(success.finetune_success().files(1)));
}

TEST_F(FullTest, TheNameMustBeFree) {
  const auto refused = [&](const std::string& base) {
    const absl::Status status = jobs_->CreateFinetune("default", NewFull("", base)).status();
    EXPECT_EQ(GetField(status), "finetune_job.adapter") << status;
    return GetReason(status);
  };
  EXPECT_EQ(refused("minilm"), Reason::kAlreadyExists);
  EXPECT_EQ(refused("bases/minilm"), Reason::kAlreadyExists);
  EXPECT_EQ(refused("Not An Id"), Reason::kIdInvalid);
  EXPECT_NE(refused("adapters/tickets"), Reason::kUnspecified);
  Create(NewFull("j1", "tickets"));
  EXPECT_EQ(refused("tickets"), Reason::kAlreadyExists) << "a job is to make it";
  EXPECT_TRUE(jobs_->CreateFinetune("default", NewFinetune("lora", "tickets")).ok()) << "an adapter may be called so";
  ASSERT_TRUE(jobs_->CancelFinetune("default", "j1").ok());
  EXPECT_TRUE(jobs_->CreateFinetune("default", NewFull("j2", "tickets")).ok());
}

TEST_F(FullTest, ANameThatWasTakenMeanwhileFailsTheJob) {
  CreateAndAssign();
  PutBase("tickets", "somebody else's");
  const auto report = Made();
  ASSERT_TRUE(jobs_->Report(report).ok());
  const v1::FinetuneJob job = Get("j1");
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_FALSE(job.has_result());
  EXPECT_EQ(job.error().code(), static_cast<int>(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(job.error().message(), ::testing::HasSubstr("base 'tickets' exists already"));
  EXPECT_EQ(Base("tickets")->digest(), "somebody else's");
  EXPECT_EQ(jobs_->counts().running, 0);
  // Said again it changes nothing, even when the name is free by now.
  ASSERT_TRUE(
      store_->Write([](Transaction& transaction) { return transaction.Delete("default", kBaseKind, "tickets"); }).ok());
  EXPECT_TRUE(jobs_->Report(report).ok());
  EXPECT_EQ(Get("j1").SerializeAsString(), job.SerializeAsString());
  EXPECT_FALSE(Base("tickets").ok());
}

TEST_F(FullTest, TheFilesOfARefusedSuccessGo) {
  Stop();
  options_.tick = absl::Milliseconds(1);
  OpenStore();
  Start();
  CreateAndAssign();
  PutBase("tickets", "somebody else's");
  const auto report = Made();
  ASSERT_TRUE(jobs_->Report(report).ok());
  clock_.Advance(options_.blob_grace);
  for (const v1::FileEntry& file : report.finetune_success().files()) {
    while (HasBlob(file)) loop_->Run([] {});
  }
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_FAILED);
}

TEST_F(FullTest, AStaleTermMakesNothing) {
  CreateAndAssign();
  PutBase("tickets", "somebody else's");
  EXPECT_EQ(GetReason(jobs_->Report(Made(2))), Reason::kStaleTerm);
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_RUNNING);
}

}  // namespace
}  // namespace tenon::server
