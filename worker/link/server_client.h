// The calls of a worker to its server that are not streams of their own: blobs and reports.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/event_loop.h"
#include "tenon/internal/v1/worker_link_service.grpc.pb.h"

namespace tenon::link {

using Stub = internal::v1::WorkerLinkService::StubInterface;

// A channel that notices a dead server within some 15 s, with room for large batches.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address);

// A file on disk and what the server calls it.
struct LocalFile {
  v1::FileEntry entry;
  std::filesystem::path path;
};

// Thread-safe; every call blocks, but never for ever.
class ServerClient {
 public:
  struct Options {
    absl::Duration fetch_stall = absl::Seconds(30);   // a fetch without a byte for so long ends
    absl::Duration publish_stall = absl::Minutes(2);  // likewise; the server syncs the file before it answers
  };
  explicit ServerClient(std::shared_ptr<Stub> stub) : ServerClient(std::move(stub), Options()) {}
  ServerClient(std::shared_ptr<Stub> stub, const Options& options) : stub_(std::move(stub)), options_(options) {}

  // Writes the blob to `file`, synced. DIGEST_MISMATCH or TOO_LARGE when other bytes came than were named,
  // STORAGE_FAULT when the server fell silent; then no file is left.
  absl::Status Fetch(const v1::FileEntry& entry, const std::filesystem::path& file);
  // Stores the file's bytes under its digest. STALE_TERM when the job has another lease.
  absl::Status Publish(const std::string& job, int64_t term, const LocalFile& file);
  absl::Status Report(const internal::v1::ReportJobRequest& report);

 private:
  const std::shared_ptr<Stub> stub_;
  const Options options_;
  EventLoop watch_;  // for calls that stall
};

// Name, size and digest of every file directly in `folder`, by name.
absl::StatusOr<std::vector<LocalFile>> ListFiles(const std::filesystem::path& folder);

}  // namespace tenon::link
