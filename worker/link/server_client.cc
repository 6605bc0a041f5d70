#include "worker/link/server_client.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/formats/status.h"
#include "common/status_proto.h"
#include "worker/link/stall_guard.h"

namespace tenon::link {
namespace {

constexpr int kMaxMessageBytes = 64 << 20;
constexpr size_t kChunkBytes = 512 << 10;
constexpr std::chrono::seconds kReportTimeout(15);

absl::Status FileError(const std::string& what, const std::filesystem::path& file, int error) {
  const Reason reason = error == ENOSPC || error == EDQUOT ? Reason::kDiskFull : Reason::kInternal;
  return TenonError(
      reason, absl::StrCat("the worker cannot ", what, " ", file.filename().string(), ": ", std::strerror(error)));
}

absl::Status Silent(const std::string& name, absl::Duration limit) {
  return TenonError(Reason::kStorageFault, absl::StrCat("the server was silent for ", absl::FormatDuration(limit),
                                                        " in the middle of ", name));
}

// A new file that is removed unless it was finished.
class FileWriter {
 public:
  explicit FileWriter(std::filesystem::path file)
      : file_(std::move(file)),
        descriptor_(open(file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)),
        error_(errno) {}
  ~FileWriter() {
    if (descriptor_ < 0) return;
    close(descriptor_);
    unlink(file_.c_str());
  }
  absl::Status Write(const std::string& bytes) {
    if (descriptor_ < 0) return FileError("create", file_, error_);
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t written = write(descriptor_, bytes.data() + done, bytes.size() - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return FileError("write", file_, errno);
      done += static_cast<size_t>(written);
    }
    return absl::OkStatus();
  }
  absl::Status Finish() {
    if (descriptor_ < 0) return FileError("create", file_, error_);
    if (fsync(descriptor_) != 0) return FileError("sync", file_, errno);
    close(descriptor_);
    descriptor_ = -1;
    return absl::OkStatus();
  }

 private:
  const std::filesystem::path file_;
  int descriptor_;
  const int error_;  // of open
};

}  // namespace

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A worker must be back within the reconnect window: gRPC's own backoff grows to two minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

absl::Status ServerClient::Fetch(const v1::FileEntry& entry, const std::filesystem::path& file) {
  grpc::ClientContext context;
  StallGuard guard(&watch_, &context, options_.fetch_stall);
  internal::v1::FetchBlobRequest request;
  request.set_sha256(entry.sha256());
  const auto reader = stub_->FetchBlob(&context, request);
  FileWriter writer(file);
  Sha256 sha;
  int64_t size = 0;
  internal::v1::FetchBlobResponse response;
  absl::Status status;
  while (status.ok() && reader->Read(&response)) {
    guard.Progress();
    const std::string& chunk = response.chunk();
    size += static_cast<int64_t>(chunk.size());
    // A size of 0 is a size that the server did not say.
    if (entry.size_bytes() > 0 && size > entry.size_bytes()) {
      status = TenonError(Reason::kDigestMismatch, absl::StrCat("more bytes came than ", entry.path(), " has"));
    } else {
      sha.Update(chunk.data(), chunk.size());
      status = writer.Write(chunk);
    }
  }
  if (!status.ok()) context.TryCancel();
  const absl::Status finished = FromGrpcStatus(reader->Finish());
  RETURN_IF_ERROR(status);
  if (guard.stalled()) return Silent(entry.path(), options_.fetch_stall);
  RETURN_IF_ERROR(finished);
  if (sha.Finish() != entry.sha256()) {
    return TenonError(Reason::kDigestMismatch,
                      absl::StrCat("the bytes of ", entry.path(), " are not those of its digest"));
  }
  return writer.Finish();
}

absl::Status ServerClient::Publish(const std::string& job, int64_t term, const LocalFile& file) {
  grpc::ClientContext context;
  StallGuard guard(&watch_, &context, options_.publish_stall);
  internal::v1::PublishBlobResponse response;
  const auto writer = stub_->PublishBlob(&context, &response);
  internal::v1::PublishBlobRequest request;
  request.mutable_header()->set_job(job);
  request.mutable_header()->set_term(term);
  request.mutable_header()->set_sha256(file.entry.sha256());
  request.mutable_header()->set_size_bytes(file.entry.size_bytes());
  bool open = writer->Write(request);
  std::ifstream in(file.path, std::ios::binary);
  std::string chunk(kChunkBytes, '\0');
  while (open && in) {
    in.read(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    if (in.gcount() == 0) break;
    request.set_chunk(chunk.data(), static_cast<size_t>(in.gcount()));
    open = writer->Write(request);
    guard.Progress();
  }
  writer->WritesDone();
  const absl::Status finished = FromGrpcStatus(writer->Finish());
  return guard.stalled() ? Silent(file.entry.path(), options_.publish_stall) : finished;
}

absl::Status ServerClient::Report(const internal::v1::ReportJobRequest& report) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kReportTimeout);
  internal::v1::ReportJobResponse response;
  return FromGrpcStatus(stub_->ReportJob(&context, report, &response));
}

absl::StatusOr<std::vector<LocalFile>> ListFiles(const std::filesystem::path& folder) {
  std::vector<LocalFile> files;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (!entry->is_regular_file(error)) continue;
    LocalFile file;
    file.path = entry->path();
    file.entry.set_path(file.path.filename().string());
    file.entry.set_size_bytes(static_cast<int64_t>(entry->file_size(error)));
    ASSIGN_OR_RETURN(*file.entry.mutable_sha256(), Sha256File(file.path));
    files.push_back(std::move(file));
  }
  if (error) return TenonError(Reason::kInternal, absl::StrCat("cannot list a folder: ", error.message()));
  std::sort(files.begin(), files.end(),
            [](const LocalFile& a, const LocalFile& b) { return a.entry.path() < b.entry.path(); });
  return files;
}

}  // namespace tenon::link
