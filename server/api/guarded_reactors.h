// The gRPC reactors below server/api/guarded.h. gRPC keeps each alive until OnDone, which comes after Finish.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/api/call_runner.h"

namespace tenon::server {

// Messages from the client, one after another. Blocks.
template <typename Message>
class StreamReader {
 public:
  virtual ~StreamReader() = default;
  // False at the end, or when the client is gone.
  virtual bool Read(Message* message) = 0;
};

// Messages to the client. Blocks until gRPC took the message.
template <typename Message>
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;
  // False when the client is gone.
  virtual bool Write(const Message& message) = 0;
};

class UnaryReactor final : public grpc::ServerUnaryReactor {
 public:
  explicit UnaryReactor(std::shared_ptr<ActiveCall> call) : call_(std::move(call)) {}
  void FinishWith(absl::Status status) {
    if (call_->Claim()) FinishClaimed(std::move(status));
  }
  // The last use of the reactor: it may be gone on return.
  void FinishClaimed(absl::Status status) {
    if (status.ok()) call_->CountSent();
    Finish(call_->Finish(std::move(status)));
  }
  void OnCancel() override {
    const std::shared_ptr<ActiveCall> call = call_;  // a callback may finish the call
    call->Cancel();
  }
  void OnDone() override { delete this; }

 private:
  std::shared_ptr<ActiveCall> call_;
};

// One operation of a stream that a thread waits for.
class PendingOperation {
 public:
  void Start() {
    absl::MutexLock lock(&mutex_);
    ok_.reset();
  }
  void Complete(bool ok) {
    absl::MutexLock lock(&mutex_);
    ok_ = ok;
  }
  bool Wait() {
    absl::MutexLock lock(&mutex_);
    const auto completed = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ok_.has_value(); };
    mutex_.Await(absl::Condition(&completed));
    return *ok_;
  }

 private:
  absl::Mutex mutex_;
  std::optional<bool> ok_ ABSL_GUARDED_BY(mutex_);
};

template <typename Message>
class ReadReactor final : public grpc::ServerReadReactor<Message>, public StreamReader<Message> {
 public:
  explicit ReadReactor(std::shared_ptr<ActiveCall> call) : call_(std::move(call)) {}
  bool Read(Message* message) override {
    message->Clear();
    operation_.Start();
    this->StartRead(message);
    const bool ok = operation_.Wait();
    if (ok) call_->CountReceived();
    return ok;
  }
  void FinishWith(absl::Status status) {
    if (status.ok()) call_->CountSent();
    this->Finish(call_->Finish(std::move(status)));
  }
  void OnReadDone(bool ok) override { operation_.Complete(ok); }
  void OnCancel() override { call_->Cancel(); }
  void OnDone() override { delete this; }

 private:
  std::shared_ptr<ActiveCall> call_;
  PendingOperation operation_;
};

template <typename Message>
class WriteReactor final : public grpc::ServerWriteReactor<Message>, public StreamWriter<Message> {
 public:
  explicit WriteReactor(std::shared_ptr<ActiveCall> call) : call_(std::move(call)) {}
  bool Write(const Message& message) override {
    if (call_->context().cancelled()) return false;
    operation_.Start();
    this->StartWrite(&message);
    const bool ok = operation_.Wait();
    if (ok) call_->CountSent();
    return ok;
  }
  void FinishWith(absl::Status status) { this->Finish(call_->Finish(std::move(status))); }
  void OnWriteDone(bool ok) override { operation_.Complete(ok); }
  void OnCancel() override { call_->Cancel(); }
  void OnDone() override { delete this; }

 private:
  std::shared_ptr<ActiveCall> call_;
  PendingOperation operation_;
};

}  // namespace tenon::server
