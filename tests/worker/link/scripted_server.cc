#include "tests/worker/link/scripted_server.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/formats/status.h"
#include "common/status_proto.h"

namespace tenon::testing {
namespace {
constexpr absl::Duration kPatience = absl::Seconds(30);
}  // namespace

ScriptedServer::ScriptedServer() { Listen(); }

ScriptedServer::~ScriptedServer() { Shutdown(); }

void ScriptedServer::Listen() {
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddListeningPort(absl::StrCat("127.0.0.1:", port_), grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

void ScriptedServer::Shutdown() {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  server_.reset();
}

void ScriptedServer::Restart() {
  while (server_ == nullptr) Listen();
}

std::string ScriptedServer::address() const { return absl::StrCat("127.0.0.1:", port_); }

std::string ScriptedServer::AddBlob(const std::string& bytes) {
  const std::string sha256 = Sha256Hex(bytes);
  absl::MutexLock lock(&mutex_);
  blobs_[sha256] = bytes;
  return sha256;
}

google::protobuf::RepeatedPtrField<v1::FileEntry> ScriptedServer::AddFiles(
    const std::map<std::string, std::string>& files) {
  google::protobuf::RepeatedPtrField<v1::FileEntry> entries;
  for (const auto& [name, bytes] : files) {
    v1::FileEntry& entry = *entries.Add();
    entry.set_path(name);
    entry.set_size_bytes(static_cast<int64_t>(bytes.size()));
    entry.set_sha256(AddBlob(bytes));
  }
  return entries;
}

void ScriptedServer::Corrupt(const std::string& sha256, const std::string& bytes) {
  absl::MutexLock lock(&mutex_);
  corrupt_[sha256] = bytes;
}

void ScriptedServer::Hang(const std::string& sha256) {
  absl::MutexLock lock(&mutex_);
  hanging_ = sha256;
}

void ScriptedServer::LetGo() { Hang(""); }

void ScriptedServer::RefuseFetch(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  refusal_ = status;
}

void ScriptedServer::ReadNoLink() {
  absl::MutexLock lock(&mutex_);
  read_links_ = false;
}

bool ScriptedServer::WaitForHellos(size_t count) const {
  absl::MutexLock lock(&mutex_);
  const auto heard = [&] { return hellos_.size() >= count; };
  return mutex_.AwaitWithTimeout(absl::Condition(&heard), kPatience);
}

bool ScriptedServer::WaitForWork(bool open) const {
  absl::MutexLock lock(&mutex_);
  const auto heard = [&] { return (work_ != nullptr) == open; };
  return mutex_.AwaitWithTimeout(absl::Condition(&heard), kPatience);
}

void ScriptedServer::SendLink(const pb::LinkResponse& message) {
  absl::MutexLock lock(&mutex_);
  const auto open = [this] { return link_ != nullptr; };
  if (mutex_.AwaitWithTimeout(absl::Condition(&open), kPatience)) link_->Write(message);
}

void ScriptedServer::SendWork(const pb::WorkResponse& message) {
  absl::MutexLock lock(&mutex_);
  const auto open = [this] { return work_ != nullptr; };
  if (mutex_.AwaitWithTimeout(absl::Condition(&open), kPatience)) work_->Write(message);
}

void ScriptedServer::CloseLink() {
  absl::MutexLock lock(&mutex_);
  if (link_context_ != nullptr) link_context_->TryCancel();
}

void ScriptedServer::DropAtWelcome(const pb::JobHold& hold) {
  absl::MutexLock lock(&mutex_);
  drops_.push_back(hold);
}

void ScriptedServer::OnReport(std::function<absl::Status(const pb::ReportJobRequest&)> decide) {
  absl::MutexLock lock(&mutex_);
  on_report_ = std::move(decide);
}

void ScriptedServer::OnPublish(std::function<absl::Status(const pb::PublishBlobRequest::Header&)> decide) {
  absl::MutexLock lock(&mutex_);
  on_publish_ = std::move(decide);
}

std::vector<pb::Hello> ScriptedServer::hellos() const {
  absl::MutexLock lock(&mutex_);
  return hellos_;
}
std::vector<pb::ReportJobRequest> ScriptedServer::reports() const {
  absl::MutexLock lock(&mutex_);
  return reports_;
}
std::map<std::string, std::string> ScriptedServer::published() const {
  absl::MutexLock lock(&mutex_);
  return published_;
}
int64_t ScriptedServer::fetches() const {
  absl::MutexLock lock(&mutex_);
  return fetches_;
}
int64_t ScriptedServer::credits() const {
  absl::MutexLock lock(&mutex_);
  return credits_;
}

pb::LinkRequest ScriptedServer::TakeLink() {
  absl::MutexLock lock(&mutex_);
  const auto heard = [this] { return !link_messages_.empty(); };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&heard), kPatience)) return {};
  pb::LinkRequest message = link_messages_.front();
  link_messages_.erase(link_messages_.begin());
  return message;
}

pb::WorkRequest ScriptedServer::TakeWork() {
  absl::MutexLock lock(&mutex_);
  const auto heard = [this] { return !work_messages_.empty(); };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&heard), kPatience)) return {};
  pb::WorkRequest message = work_messages_.front();
  work_messages_.erase(work_messages_.begin());
  return message;
}

void ScriptedServer::StallWork(bool stalled) {
  absl::MutexLock lock(&mutex_);
  work_stalled_ = stalled;
}

pb::ReportJobRequest ScriptedServer::WaitForReport(const std::function<bool(const pb::ReportJobRequest&)>& fits) {
  absl::MutexLock lock(&mutex_);
  pb::ReportJobRequest found;
  const auto heard = [&] {
    for (const pb::ReportJobRequest& report : reports_) {
      if (!fits(report)) continue;
      found = report;
      return true;
    }
    return false;
  };
  mutex_.AwaitWithTimeout(absl::Condition(&heard), kPatience);
  return found;
}

grpc::Status ScriptedServer::Link(grpc::ServerContext* context,
                                  grpc::ServerReaderWriter<pb::LinkResponse, pb::LinkRequest>* stream) {
  pb::LinkRequest message;
  if (!stream->Read(&message)) return grpc::Status::OK;
  {
    absl::MutexLock lock(&mutex_);
    hellos_.push_back(message.hello());
    pb::LinkResponse welcome;
    welcome.mutable_welcome()->set_heartbeat_ms(100);
    welcome.mutable_welcome()->set_lease_ms(30'000);
    for (const pb::JobHold& hold : drops_) *welcome.mutable_welcome()->add_drop() = hold;
    drops_.clear();
    stream->Write(welcome);
    link_ = stream;
    link_context_ = context;
    // gRPC tells nobody of a cancellation: it has to be asked.
    const auto ended = [&] { return read_links_ || context->IsCancelled(); };
    while (!mutex_.AwaitWithTimeout(absl::Condition(&ended), absl::Milliseconds(20))) continue;
  }
  while (stream->Read(&message)) {
    absl::MutexLock lock(&mutex_);
    link_messages_.push_back(message);
  }
  absl::MutexLock lock(&mutex_);
  link_ = nullptr;
  link_context_ = nullptr;
  return grpc::Status::OK;
}

grpc::Status ScriptedServer::Work(grpc::ServerContext*,
                                  grpc::ServerReaderWriter<pb::WorkResponse, pb::WorkRequest>* stream) {
  pb::WorkRequest message;
  if (!stream->Read(&message) || !message.has_hello()) return grpc::Status::OK;
  {
    absl::MutexLock lock(&mutex_);
    credits_ = message.hello().credits();
    work_ = stream;
  }
  while (stream->Read(&message)) {
    absl::MutexLock lock(&mutex_);
    work_messages_.push_back(message);
    const auto go_on = [this] { return !work_stalled_; };
    mutex_.Await(absl::Condition(&go_on));
  }
  absl::MutexLock lock(&mutex_);
  if (work_ == stream) work_ = nullptr;
  return grpc::Status::OK;
}

grpc::Status ScriptedServer::FetchBlob(grpc::ServerContext*, const pb::FetchBlobRequest* request,
                                       grpc::ServerWriter<pb::FetchBlobResponse>* writer) {
  std::string bytes;
  {
    absl::MutexLock lock(&mutex_);
    ++fetches_;
    if (!refusal_.ok()) return ToGrpcStatus(std::exchange(refusal_, absl::OkStatus()));
    const auto corrupt = corrupt_.find(request->sha256());
    const auto found = blobs_.find(request->sha256());
    if (corrupt == corrupt_.end() && found == blobs_.end()) {
      return ToGrpcStatus(TenonError(Reason::kNotFound, "no such blob"));
    }
    bytes = corrupt != corrupt_.end() ? corrupt->second : found->second;
  }
  for (size_t done = 0; done < bytes.size(); done += 1000) {
    pb::FetchBlobResponse response;
    response.set_chunk(bytes.substr(done, 1000));
    writer->Write(response);
    absl::MutexLock lock(&mutex_);
    const auto go_on = [&] { return hanging_ != request->sha256(); };
    mutex_.Await(absl::Condition(&go_on));
  }
  return grpc::Status::OK;
}

grpc::Status ScriptedServer::PublishBlob(grpc::ServerContext*, grpc::ServerReader<pb::PublishBlobRequest>* reader,
                                         pb::PublishBlobResponse*) {
  pb::PublishBlobRequest message;
  reader->Read(&message);
  const pb::PublishBlobRequest::Header header = message.header();
  std::function<absl::Status(const pb::PublishBlobRequest::Header&)> decide;
  {
    absl::MutexLock lock(&mutex_);
    decide = on_publish_;
  }
  if (decide) {
    if (const absl::Status status = decide(header); !status.ok()) return ToGrpcStatus(status);
  }
  std::string bytes;
  while (reader->Read(&message)) bytes += message.chunk();
  if (Sha256Hex(bytes) != header.sha256() || static_cast<int64_t>(bytes.size()) != header.size_bytes()) {
    return ToGrpcStatus(TenonError(Reason::kDigestMismatch, "other bytes"));
  }
  absl::MutexLock lock(&mutex_);
  published_[header.sha256()] = bytes;
  blobs_[header.sha256()] = bytes;
  return grpc::Status::OK;
}

grpc::Status ScriptedServer::ReportJob(grpc::ServerContext*, const pb::ReportJobRequest* request,
                                       pb::ReportJobResponse*) {
  std::function<absl::Status(const pb::ReportJobRequest&)> decide;
  {
    absl::MutexLock lock(&mutex_);
    decide = on_report_;
  }
  if (decide) {
    if (const absl::Status status = decide(*request); !status.ok()) return ToGrpcStatus(status);
  }
  absl::MutexLock lock(&mutex_);
  reports_.push_back(*request);
  return grpc::Status::OK;
}

}  // namespace tenon::testing
