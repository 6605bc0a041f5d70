// Blobs to and from a scripted server that does not always answer.
#include "worker/link/server_client.h"

#include <grpcpp/channel.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "absl/synchronization/notification.h"
#include "common/digest.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"
#include "tests/worker/link/scripted_server.h"

namespace tenon::link {
namespace {

namespace fs = std::filesystem;

class ServerClientTest : public ::testing::Test {
 protected:
  static v1::FileEntry Entry(const std::string& bytes) {
    v1::FileEntry entry;
    entry.set_path("w");
    entry.set_sha256(Sha256Hex(bytes));
    entry.set_size_bytes(static_cast<int64_t>(bytes.size()));
    return entry;
  }

  const test::TempFolder folder_;
  testing::ScriptedServer server_;
  ServerClient client_{internal::v1::WorkerLinkService::NewStub(MakeChannel(server_.address())),
                       {.fetch_stall = absl::Milliseconds(200), .publish_stall = absl::Milliseconds(200)}};
};

TEST_F(ServerClientTest, AFetchThatHangsEndsAndLeavesNoFile) {
  const std::string bytes(100'000, 'b');
  server_.AddBlob(bytes);
  server_.Hang(Sha256Hex(bytes));
  const absl::Status status = client_.Fetch(Entry(bytes), folder_ / "w");
  EXPECT_EQ(GetReason(status), Reason::kStorageFault) << status;
  EXPECT_TRUE(fs::is_empty(folder_.path()));
  server_.LetGo();
  EXPECT_TRUE(client_.Fetch(Entry(bytes), folder_ / "w").ok());
  EXPECT_EQ(fs::file_size(folder_ / "w"), bytes.size());
}

TEST_F(ServerClientTest, APublishThatIsNotAnsweredEnds) {
  const auto go_on = std::make_shared<absl::Notification>();
  server_.OnPublish([go_on](const auto&) {
    go_on->WaitForNotification();
    return absl::OkStatus();
  });
  std::ofstream(folder_ / "w") << "weights";
  const absl::Status status = client_.Publish("finetuneJobs/a", 1, {Entry("weights"), folder_ / "w"});
  EXPECT_EQ(GetReason(status), Reason::kStorageFault) << status;
  go_on->Notify();
}

}  // namespace
}  // namespace tenon::link
