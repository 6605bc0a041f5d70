#include "worker/link/link.h"

#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/formats/status.h"
#include "common/status_proto.h"
#include "worker/link/backoff.h"

namespace tenon::link {

// One Link stream and what lives as long as it does.
struct WorkerLink::Connection {
  grpc::ClientContext context;
  std::unique_ptr<Stream> stream;
  absl::Notification closed;

  // One write at a time, and none behind Finish. A write may block for as long as the server does not read, until
  // TryCancel: nothing else is locked over it.
  bool Write(const internal::v1::LinkRequest& message) {
    absl::MutexLock lock(&write_mutex);
    return !finished && stream->Write(message);
  }
  // The stream was cancelled, or ended.
  grpc::Status Finish() {
    absl::MutexLock lock(&write_mutex);
    finished = true;
    return stream->Finish();
  }

  absl::Mutex write_mutex;
  bool finished ABSL_GUARDED_BY(write_mutex) = false;

  absl::Mutex mutex;
  std::shared_ptr<WorkStream> work ABSL_GUARDED_BY(mutex);
};

WorkerLink::WorkerLink(Options options, Parts parts) : options_(std::move(options)), parts_(std::move(parts)) {}

WorkerLink::~WorkerLink() { Stop(); }

void WorkerLink::Start() {
  thread_ = std::thread([this] { Run(); });
}

void WorkerLink::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    if (!stopped_) stopping_.Notify();
    stopped_ = true;
    if (connection_ != nullptr) connection_->context.TryCancel();
  }
  if (thread_.joinable()) thread_.join();
  loader_.Stop();
}

void WorkerLink::Drain(absl::Duration grace) {
  const absl::Time end = absl::Now() + grace;
  std::shared_ptr<Connection> connection;
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    connection = connection_;
  }
  std::shared_ptr<WorkStream> work;
  if (connection != nullptr) {
    absl::MutexLock lock(&connection->mutex);
    work = connection->work;
  }
  if (work != nullptr) work->Refuse();
  parts_.jobs->Drain();
  if (connection == nullptr) return;  // nobody to hand anything to
  if (work != nullptr) work->Drain(grace);
  parts_.jobs->WaitUntilEmpty(std::max(end - absl::Now(), absl::ZeroDuration()));
}

void WorkerLink::Run() {
  Backoff backoff({});
  while (!stopping_.HasBeenNotified()) {
    if (RunOnce()) backoff.Reset();
    stopping_.WaitForNotificationWithTimeout(backoff.Next());
  }
}

internal::v1::LinkRequest WorkerLink::Hello() const {
  internal::v1::LinkRequest message;
  internal::v1::Hello& hello = *message.mutable_hello();
  hello.set_worker_id(options_.worker_id);
  hello.set_session(options_.session);
  hello.set_device(options_.device);
  hello.set_version(options_.version);
  hello.set_memory_bytes(options_.memory_bytes);
  for (internal::v1::JobHold& hold : parts_.jobs->held()) *hello.add_jobs() = std::move(hold);
  for (std::string& digest : parts_.runtime->bases()) hello.add_base_digests(std::move(digest));
  for (std::string& digest : parts_.runtime->unloading_bases()) hello.add_unloading_digests(std::move(digest));
  return message;
}

bool WorkerLink::RunOnce() {
  const auto connection = std::make_shared<Connection>();
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_ || draining_) return false;
    connection_ = connection;
  }
  connection->stream = parts_.stub->Link(&connection->context);
  bool welcomed = false;
  std::thread heartbeats, work;
  internal::v1::LinkResponse message;
  if (connection->Write(Hello()) && connection->stream->Read(&message) && message.has_welcome()) {
    welcomed = true;
    connected_ = true;
    ++connects_;
    OnWelcome(message.welcome());
    const absl::Duration every = absl::Milliseconds(std::max<int64_t>(message.welcome().heartbeat_ms(), 100));
    heartbeats = std::thread([this, &connection = *connection, every] { SendHeartbeats(connection, every); });
    work = std::thread([this, &connection = *connection] { RunWork(connection); });
    while (connection->stream->Read(&message)) Handle(message, connection);
  }
  connected_ = false;
  connection->closed.Notify();
  {
    absl::MutexLock lock(&connection->mutex);
    if (connection->work != nullptr) connection->work->Cancel();
  }
  connection->context.TryCancel();
  if (heartbeats.joinable()) heartbeats.join();
  if (work.joinable()) work.join();
  {
    absl::MutexLock lock(&mutex_);
    connection_ = nullptr;
  }
  const grpc::Status status = connection->Finish();
  if (!stopping_.HasBeenNotified()) {
    spdlog::warn("lost the server: {} ({})", status.error_message(), static_cast<int>(status.error_code()));
  }
  return welcomed;
}

void WorkerLink::OnWelcome(const internal::v1::Welcome& welcome) {
  spdlog::info("connected: heartbeat {} ms, lease {} ms", welcome.heartbeat_ms(), welcome.lease_ms());
  for (const internal::v1::JobHold& hold : welcome.drop()) parts_.jobs->Drop(hold.job(), hold.term());
}

void WorkerLink::Handle(const internal::v1::LinkResponse& message, const std::shared_ptr<Connection>&) {
  switch (message.message_case()) {
    case internal::v1::LinkResponse::kLoadBase:
      loader_.Post([this, load = message.load_base()] { LoadBase(load); });
      break;
    case internal::v1::LinkResponse::kUnloadBase:
      // In order with loads of the same base. The server hears at once when nobody uses it, else by a later heartbeat.
      loader_.Post([this, digest = message.unload_base().digest()] {
        parts_.runtime->UnloadBase(digest);
        spdlog::info("base {} unloaded", digest);
        Write(Heartbeat());
      });
      break;
    case internal::v1::LinkResponse::kAssign:
      parts_.jobs->Assign(message.assign());
      break;
    case internal::v1::LinkResponse::kCancel:
      parts_.jobs->Cancel(message.cancel().job(), message.cancel().term());
      break;
    default:
      break;
  }
}

void WorkerLink::LoadBase(const internal::v1::LoadBase& load) {
  const absl::Time start = absl::Now();
  const auto run = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::filesystem::path folder, parts_.cache->BaseFolder(load.digest(), load.files()));
    return parts_.runtime->LoadBase(load.digest(), folder);
  };
  const absl::Status status = run();
  internal::v1::LinkRequest message;
  message.mutable_base_loaded()->set_digest(load.digest());
  if (status.ok()) {
    spdlog::info("{} loaded in {:.1f} s", load.name(), absl::ToDoubleSeconds(absl::Now() - start));
  } else {
    spdlog::error("{} cannot be loaded: {}", load.name(), std::string(status.message()));
    *message.mutable_base_loaded()->mutable_error() = ToErrorProto(status);
  }
  Write(message);
}

void WorkerLink::Write(const internal::v1::LinkRequest& message) {
  std::shared_ptr<Connection> connection;
  {
    absl::MutexLock lock(&mutex_);
    if (connected_) connection = connection_;
  }
  if (connection != nullptr) connection->Write(message);
}

internal::v1::LinkRequest WorkerLink::Heartbeat() const {
  const runtime::RuntimeStats stats = parts_.runtime->stats();
  internal::v1::LinkRequest message;
  internal::v1::Heartbeat& heartbeat = *message.mutable_heartbeat();
  heartbeat.set_adapters_resident(stats.adapters_on_device);
  heartbeat.set_memory_bytes_used(stats.base_bytes + stats.device_adapter_bytes + stats.training_bytes);
  for (internal::v1::JobHold& hold : parts_.jobs->held()) *heartbeat.add_jobs() = std::move(hold);
  // Unloading ones last: a base that is unloaded meanwhile is named twice and not missed.
  for (std::string& digest : parts_.runtime->bases()) heartbeat.add_base_digests(std::move(digest));
  for (std::string& digest : parts_.runtime->unloading_bases()) heartbeat.add_base_digests(std::move(digest));
  return message;
}

void WorkerLink::SendHeartbeats(Connection& connection, absl::Duration every) {
  while (!connection.closed.WaitForNotificationWithTimeout(every)) {
    if (!connection.Write(Heartbeat())) return;
  }
}

// Keeps a Work stream open beside the Link.
void WorkerLink::RunWork(Connection& connection) {
  Backoff backoff({});
  while (!connection.closed.HasBeenNotified()) {
    const auto work = std::make_shared<WorkStream>(WorkStream::Parts{parts_.stub, parts_.runtime, parts_.adapters,
                                                                     parts_.clock, options_.session, options_.credits});
    {
      absl::MutexLock lock(&connection.mutex);
      if (connection.closed.HasBeenNotified()) return;
      connection.work = work;
    }
    work->Run();
    connection.closed.WaitForNotificationWithTimeout(backoff.Next());
  }
}

}  // namespace tenon::link
