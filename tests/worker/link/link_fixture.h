// A worker's link against a scripted server, over a recorded runtime.
#pragma once

#include <grpcpp/channel.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/link/recorded_runtime.h"
#include "tests/worker/link/scripted_server.h"
#include "worker/link/link.h"

namespace tenon::link {

namespace pb = internal::v1;

inline std::string ReadAll(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class LinkFixture : public ::testing::Test {
 protected:
  LinkFixture() {
    stub_ = pb::WorkerLinkService::NewStub(MakeChannel(server_.address()));
    client_ = std::make_unique<ServerClient>(stub_);
    cache_ = *BlobCache::Open(root_ / "cache", 1 << 20, [this](const v1::FileEntry& entry, const auto& file) {
      return client_->Fetch(entry, file);
    });
    adapters_ = std::make_unique<AdapterFiles>(cache_.get());
    jobs_ = std::make_unique<JobRunner>(JobRunner::Parts{.runtime = &runtime_,
                                                         .server = client_.get(),
                                                         .cache = cache_.get(),
                                                         .adapters = adapters_.get(),
                                                         .session = "session-1",
                                                         .scratch = root_ / "resume",
                                                         .clock = &Clock::Real()});
    link_ = std::make_unique<WorkerLink>(WorkerLink::Options{.worker_id = "w1",
                                                             .session = "session-1",
                                                             .device = "cpu",
                                                             .version = "t",
                                                             .memory_bytes = 5,
                                                             .credits = 99},
                                         WorkerLink::Parts{.stub = stub_,
                                                           .runtime = &runtime_,
                                                           .cache = cache_.get(),
                                                           .adapters = adapters_.get(),
                                                           .jobs = jobs_.get()});
  }
  ~LinkFixture() override {
    link_->Stop();
    jobs_->Stop();
    runtime_.Clear();
    jobs_.reset();
  }

  // Connects, both streams open.
  void Connect() {
    link_->Start();
    ASSERT_TRUE(server_.WaitForHellos(1));
    ASSERT_TRUE(server_.WaitForWork(true));
  }

  pb::LinkResponse FinetuneAssignment(int64_t term = 1) {
    pb::LinkResponse message;
    pb::JobAssignment& assign = *message.mutable_assign();
    assign.set_job("finetuneJobs/a");
    assign.set_term(term);
    assign.set_base_digest("base");
    v1::FinetuneJob& spec = *assign.mutable_finetune()->mutable_spec();
    spec.set_base("bases/tiny");
    spec.set_method(v1::METHOD_LORA);
    spec.mutable_training()->set_max_steps(20);
    spec.mutable_training()->set_seed(5);
    std::string rows;
    for (int i = 0; i < 10; ++i) {
      absl::StrAppend(&rows, "{\"text\": \"row ", i, "\", \"label\": \"", i % 2 ? "yes" : "no", "\"}\n");
    }
    assign.mutable_finetune()->mutable_train()->set_sha256(server_.AddBlob(rows));
    assign.mutable_finetune()->mutable_train()->set_format(v1::DATASET_FORMAT_JSONL);
    return message;
  }
  // A folder as the runtime would hand over.
  std::filesystem::path MakeFolder(const std::string& name, const std::map<std::string, std::string>& files) {
    const std::filesystem::path folder = root_ / name;
    std::filesystem::create_directories(folder);
    for (const auto& [file, bytes] : files) std::ofstream(folder / file, std::ios::binary) << bytes;
    return folder;
  }

  test::TempFolder folder_;
  const std::filesystem::path root_ = folder_.path();
  testing::ScriptedServer server_;
  testing::RecordedRuntime runtime_;
  std::shared_ptr<Stub> stub_;
  std::unique_ptr<ServerClient> client_;
  std::unique_ptr<BlobCache> cache_;
  std::unique_ptr<AdapterFiles> adapters_;
  std::unique_ptr<JobRunner> jobs_;
  std::unique_ptr<WorkerLink> link_;
};

}  // namespace tenon::link
