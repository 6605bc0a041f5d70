// Jobs and data sets through a real server: bounds, restarts, streams that a server's end closes.
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "common/status_proto.h"
#include "tenon/v1/catalog_service.grpc.pb.h"
#include "tenon/v1/dataset_service.grpc.pb.h"
#include "tenon/v1/finetune_service.grpc.pb.h"
#include "tests/server/api/server_fixture.h"

namespace tenon::server {
namespace {

class JobsTest : public ServerFixture {
 protected:
  void Configure(ServerOptions* options) override {
    options->max_queued_jobs = 2;
    options->drain_seconds = 30;
  }
  void SetUp() override {
    ServerFixture::SetUp();
    Connect();
  }
  void Connect() {
    jobs_ = v1::FinetuneService::NewStub(Channel());
    datasets_ = v1::DatasetService::NewStub(Channel());
    catalog_ = v1::CatalogService::NewStub(Channel());
  }
  absl::Status Upload(const std::string& id) {
    const auto context = Context();
    v1::UploadDatasetResponse response;
    const auto writer = datasets_->UploadDataset(context.get(), &response);
    v1::UploadDatasetRequest message;
    message.mutable_header()->set_dataset_id(id);
    message.mutable_header()->set_format(v1::DATASET_FORMAT_JSONL);
    writer->Write(message);
    message.set_chunk("{\"text\":\"good\",\"label\":\"pos\"}\n{\"text\":\"bad\",\"label\":\"neg\"}\n");
    writer->Write(message);
    writer->WritesDone();
    return FromGrpcStatus(writer->Finish());
  }
  absl::Status Create(const std::string& id) {
    v1::CreateFinetuneJobRequest request;
    request.set_finetune_job_id(id);
    v1::FinetuneJob& job = *request.mutable_finetune_job();
    job.set_base("mini");
    job.set_adapter("fresh");
    job.set_task(v1::TASK_SEQUENCE_CLASSIFICATION);
    job.set_method(v1::METHOD_LORA);
    job.set_train_dataset("rows");
    v1::FinetuneJob response;
    return FromGrpcStatus(jobs_->CreateFinetuneJob(Context().get(), request, &response));
  }
  v1::FinetuneJob Get(const std::string& id) {
    v1::GetFinetuneJobRequest request;
    request.set_name(id);
    v1::FinetuneJob job;
    EXPECT_TRUE(jobs_->GetFinetuneJob(Context().get(), request, &job).ok());
    return job;
  }
  absl::Status DeleteDataset(const std::string& name) {
    v1::DeleteDatasetRequest request;
    request.set_name(name);
    google::protobuf::Empty response;
    return FromGrpcStatus(datasets_->DeleteDataset(Context().get(), request, &response));
  }
  absl::Status DeleteBase(const std::string& name) {
    v1::DeleteBaseRequest request;
    request.set_name(name);
    google::protobuf::Empty response;
    return FromGrpcStatus(catalog_->DeleteBase(Context().get(), request, &response));
  }

  std::unique_ptr<v1::FinetuneService::Stub> jobs_;
  std::unique_ptr<v1::DatasetService::Stub> datasets_;
  std::unique_ptr<v1::CatalogService::Stub> catalog_;
};

TEST_F(JobsTest, AFullQueueOfJobsRefusesUntilOneIsCancelled) {
  ASSERT_TRUE(Upload("rows").ok());
  ASSERT_TRUE(Create("j1").ok());
  ASSERT_TRUE(Create("j2").ok());
  const absl::Status full = Create("j3");
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetReason(full), Reason::kQueueFull);
  v1::CancelFinetuneJobRequest cancel;
  cancel.set_name("j1");
  v1::FinetuneJob cancelled;
  ASSERT_TRUE(jobs_->CancelFinetuneJob(Context().get(), cancel, &cancelled).ok());
  EXPECT_EQ(cancelled.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_TRUE(Create("j3").ok());
}

TEST_F(JobsTest, WhatAQueuedJobNeedsIsInUse) {
  ASSERT_TRUE(Upload("rows").ok());
  ASSERT_TRUE(Create("j1").ok());
  EXPECT_EQ(GetReason(DeleteDataset("rows")), Reason::kInUse);
  EXPECT_EQ(GetReason(DeleteBase("mini")), Reason::kInUse);
}

TEST_F(JobsTest, QueuedJobsOutliveTheServer) {
  ASSERT_TRUE(Upload("rows").ok());
  ASSERT_TRUE(Create("j1").ok());
  server_.reset();
  StartServer();
  Connect();
  EXPECT_EQ(Get("j1").state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(Get("j1").queue().position(), 1);
  EXPECT_EQ(GetReason(DeleteDataset("rows")), Reason::kInUse);
}

TEST_F(JobsTest, AServerThatEndsEndsItsWatchStreams) {
  ASSERT_TRUE(Upload("rows").ok());
  ASSERT_TRUE(Create("j1").ok());
  v1::WatchFinetuneJobRequest request;
  request.set_name("j1");
  const auto context = Context(120);
  const auto stream = jobs_->WatchFinetuneJob(context.get(), request);
  v1::WatchFinetuneJobResponse message;
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.finetune_job().state(), v1::JOB_STATE_QUEUED);
  const absl::Time start = absl::Now();
  server_->Shutdown();
  EXPECT_LT(absl::Now() - start, absl::Seconds(20)) << "it does not wait for those who only watch";
  while (stream->Read(&message)) {
  }
  const absl::Status end = FromGrpcStatus(stream->Finish());
  EXPECT_EQ(GetReason(end), Reason::kShuttingDown) << end;
  EXPECT_EQ(end.code(), absl::StatusCode::kUnavailable);
}

TEST_F(JobsTest, PageTokensOfAnotherListAreRefused) {
  ASSERT_TRUE(Upload("one").ok());
  ASSERT_TRUE(Upload("two").ok());
  v1::ListDatasetsRequest first;
  first.set_page_size(1);
  v1::ListDatasetsResponse page;
  ASSERT_TRUE(datasets_->ListDatasets(Context().get(), first, &page).ok());
  ASSERT_FALSE(page.next_page_token().empty());
  v1::ListFinetuneJobsRequest other;
  other.set_page_token(page.next_page_token());
  v1::ListFinetuneJobsResponse ignored;
  const absl::Status status = FromGrpcStatus(jobs_->ListFinetuneJobs(Context().get(), other, &ignored));
  EXPECT_EQ(GetReason(status), Reason::kPageTokenInvalid);
  EXPECT_EQ(GetField(status), "page_token");
}

}  // namespace
}  // namespace tenon::server
