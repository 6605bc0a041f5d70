// The workers' port of a real server: sessions, leases, blobs, health.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/digest.h"
#include "common/status_proto.h"
#include "tenon/v1/admin_service.grpc.pb.h"
#include "tenon/v1/catalog_service.grpc.pb.h"
#include "tests/server/api/fake_worker.h"
#include "tests/server/api/server_fixture.h"

namespace tenon::server {
namespace {

class WorkerLinkTest : public ServerFixture {
 protected:
  std::vector<v1::Worker> Workers() {
    const auto stub = v1::AdminService::NewStub(Channel());
    v1::ListWorkersResponse response;
    EXPECT_TRUE(stub->ListWorkers(Context().get(), {}, &response).ok());
    return {response.workers().begin(), response.workers().end()};
  }
};

TEST_F(WorkerLinkTest, HealthFollowsTheWorkers) {
  WaitForHealth("", true);
  WaitForHealth("tenon.v1.InferenceService", false);
  WaitForHealth("tenon.v1.RetrievalService", false);
  {
    const FakeWorker worker(server_->ports().workers, {});
    WaitForHealth("tenon.v1.InferenceService", true);
    WaitForHealth("tenon.v1.RetrievalService", true);
  }
  WaitForHealth("tenon.v1.InferenceService", false);
  WaitForHealth("tenon.v1.RetrievalService", false);
  WaitForHealth("", true);
}

TEST_F(WorkerLinkTest, WorkersAreListedWithTheirBases) {
  EXPECT_THAT(Workers(), ::testing::IsEmpty());
  const FakeWorker worker(server_->ports().workers, {});
  WaitForHealth("tenon.v1.InferenceService", true);
  const auto workers = Workers();
  ASSERT_EQ(workers.size(), 1u);
  EXPECT_EQ(workers[0].id(), "fake");
  EXPECT_EQ(workers[0].device(), "cpu");
  EXPECT_EQ(workers[0].state(), v1::WORKER_STATE_READY);
  EXPECT_THAT(workers[0].base_digests(), ::testing::ElementsAre(std::string(64, 'b')));
  EXPECT_GT(workers[0].connect_time().seconds(), 0);

  const auto stub = v1::AdminService::NewStub(Channel());
  v1::GetStatusResponse status;
  ASSERT_TRUE(stub->GetStatus(Context().get(), {}, &status).ok());
  EXPECT_EQ(status.ready_workers(), 1);
  EXPECT_TRUE(status.writable());
  EXPECT_FALSE(status.version().empty());
}

TEST_F(WorkerLinkTest, ADeletedBaseIsUnloaded) {
  FakeWorker worker(server_->ports().workers, {});
  WaitForHealth("tenon.v1.InferenceService", true);
  const auto catalog = v1::CatalogService::NewStub(Channel());
  google::protobuf::Empty empty;
  v1::ListAdaptersResponse bound;
  ASSERT_TRUE(catalog->ListAdapters(Context().get(), {}, &bound).ok());
  for (const v1::Adapter& one : bound.adapters()) {
    v1::DeleteAdapterRequest adapter;
    adapter.set_name(one.name());
    ASSERT_TRUE(catalog->DeleteAdapter(Context().get(), adapter, &empty).ok());
  }
  v1::DeleteBaseRequest base;
  base.set_name("bases/mini");
  ASSERT_TRUE(catalog->DeleteBase(Context().get(), base, &empty).ok());
  EXPECT_THAT(worker.WaitForUnloads(1), ::testing::ElementsAre(std::string(64, 'b')));
  WaitForHealth("tenon.v1.InferenceService", false);
  EXPECT_THAT(Workers().at(0).base_digests(), ::testing::IsEmpty());
}

TEST_F(WorkerLinkTest, AClosedWorkerIsShownAsLostForItsWindow) {
  {
    const FakeWorker worker(server_->ports().workers, {});
    WaitForHealth("tenon.v1.InferenceService", true);
  }
  WaitForHealth("tenon.v1.InferenceService", false);
  const auto workers = Workers();
  ASSERT_EQ(workers.size(), 1u);
  EXPECT_EQ(workers[0].state(), v1::WORKER_STATE_LOST);
}

TEST_F(WorkerLinkTest, ASecondWorkerOfTheSameNameIsToldSo) {
  FakeWorker first(server_->ports().workers, {});
  ASSERT_TRUE(first.WaitForWelcome());
  FakeWorker::Options options;
  options.session = "session-2";
  FakeWorker second(server_->ports().workers, options);
  EXPECT_FALSE(second.WaitForWelcome());
  EXPECT_EQ(GetReason(FromGrpcStatus(second.WaitForEnd())), Reason::kAlreadyExists);
}

TEST_F(WorkerLinkTest, AHelloMustNameAFitWorker) {
  FakeWorker::Options options;
  options.id = "Not Fit";
  FakeWorker worker(server_->ports().workers, options);
  const absl::Status status = FromGrpcStatus(worker.WaitForEnd());
  EXPECT_EQ(GetReason(status), Reason::kIdInvalid);
  EXPECT_EQ(GetField(status), "worker_id");
}

TEST_F(WorkerLinkTest, BlobsOfUnknownJobsAreRefused) {
  FakeWorker worker(server_->ports().workers, {});
  internal::v1::PublishBlobRequest message;
  message.mutable_header()->set_job("finetuneJobs/nobody");
  message.mutable_header()->set_term(1);
  message.mutable_header()->set_sha256(Sha256Hex("bytes"));
  message.mutable_header()->set_size_bytes(5);
  internal::v1::PublishBlobResponse response;
  const auto context = Context();
  const auto writer = worker.stub().PublishBlob(context.get(), &response);
  writer->Write(message);
  message.set_chunk("bytes");
  writer->Write(message);
  writer->WritesDone();
  EXPECT_FALSE(writer->Finish().ok());
  internal::v1::FetchBlobRequest fetch;
  fetch.set_sha256(Sha256Hex("bytes"));
  const auto fetch_context = Context();
  const auto reader = worker.stub().FetchBlob(fetch_context.get(), fetch);
  internal::v1::FetchBlobResponse piece;
  EXPECT_FALSE(reader->Read(&piece));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::NOT_FOUND) << "nothing was stored";
}

TEST_F(WorkerLinkTest, BlobRequestsAreChecked) {
  FakeWorker worker(server_->ports().workers, {});
  internal::v1::FetchBlobRequest fetch;
  fetch.set_sha256("../../etc/passwd");
  const auto context = Context();
  const auto reader = worker.stub().FetchBlob(context.get(), fetch);
  internal::v1::FetchBlobResponse piece;
  EXPECT_FALSE(reader->Read(&piece));
  EXPECT_EQ(GetField(FromGrpcStatus(reader->Finish())), "sha256");

  const auto publish_context = Context();
  internal::v1::PublishBlobResponse response;
  const auto writer = worker.stub().PublishBlob(publish_context.get(), &response);
  writer->WritesDone();
  EXPECT_EQ(GetField(FromGrpcStatus(writer->Finish())), "header");
}

class ShortLeaseTest : public WorkerLinkTest {
 protected:
  void Configure(ServerOptions* options) override {
    options->heartbeat_ms = 100;
    options->lease_ms = 300;
  }
};

TEST_F(ShortLeaseTest, AWorkerThatSendsNoHeartbeatIsCutOff) {
  FakeWorker worker(server_->ports().workers, {});
  ASSERT_TRUE(worker.WaitForWelcome());
  EXPECT_EQ(GetReason(FromGrpcStatus(worker.WaitForEnd())), Reason::kWorkerLost);
  WaitForHealth("tenon.v1.InferenceService", false);
  EXPECT_THAT(Workers(), ::testing::IsEmpty());
}

TEST_F(WorkerLinkTest, OneServerHoldsADataFolder) {
  const auto second = Server::Start(options_, nullptr);
  EXPECT_EQ(GetReason(second.status()), Reason::kInUse);
}

TEST_F(WorkerLinkTest, OtherMachinesAreLetInOnlyOnRequest) {
  ServerOptions open = options_;
  open.data = folder_.path() / "open";
  open.listen = "0.0.0.0:0";
  const auto refused = Server::Start(open, nullptr);
  EXPECT_EQ(GetReason(refused.status()), Reason::kFieldInvalid);
  EXPECT_THAT(std::string(refused.status().message()), ::testing::HasSubstr("--allow-remote"));
  EXPECT_FALSE(std::filesystem::exists(open.data));
}

}  // namespace
}  // namespace tenon::server
