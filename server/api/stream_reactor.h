// A bidirectional stream that lives for long: messages in go to a function, messages out come from any thread.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/api/call_runner.h"

namespace tenon::server {

// gRPC keeps it alive until OnDone; others hold its Handle.
template <typename In, typename Out>
class StreamReactor final : public grpc::ServerBidiReactor<In, Out> {
 public:
  // What others may hold of a stream. Thread-safe; does nothing once the stream is over.
  class Handle {
   public:
    void Send(Out message) {
      absl::MutexLock lock(&mutex_);
      if (reactor_ != nullptr) reactor_->Send(std::move(message));
    }
    void Close(const absl::Status& status) {
      absl::MutexLock lock(&mutex_);
      if (reactor_ != nullptr) reactor_->Close(status);
    }

   private:
    friend class StreamReactor;
    absl::Mutex mutex_;
    StreamReactor* reactor_ ABSL_GUARDED_BY(mutex_) = nullptr;
  };

  explicit StreamReactor(std::shared_ptr<ActiveCall> call)
      : call_(std::move(call)), handle_(std::make_shared<Handle>()) {
    absl::MutexLock lock(&handle_->mutex_);
    handle_->reactor_ = this;
  }
  const std::shared_ptr<Handle>& handle() const { return handle_; }

  // `on_message` is called for each message in order, `on_end` once behind the last; both on gRPC threads.
  void Begin(std::function<void(In)> on_message, std::function<void()> on_end) {
    on_message_ = std::move(on_message);
    on_end_ = std::move(on_end);
    this->StartRead(&in_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {  // half-closed, or gone
      on_end_();
      Close(absl::OkStatus());
      return;
    }
    call_->CountReceived();
    on_message_(std::move(in_));
    in_ = In();
    this->StartRead(&in_);
  }
  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (ok) call_->CountSent();
    outbox_.pop_front();
    if (!ok) outbox_.clear();
    Advance();
  }
  void OnCancel() override {
    call_->Cancel();
    Close(absl::OkStatus());
  }
  void OnDone() override {
    {
      absl::MutexLock lock(&handle_->mutex_);
      handle_->reactor_ = nullptr;
    }
    delete this;
  }

 private:
  void Send(Out message) {
    absl::MutexLock lock(&mutex_);
    if (closing_.has_value()) return;
    outbox_.push_back(std::move(message));
    Advance();
  }
  // What was sent before is still written, unless the peer is gone.
  void Close(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (closing_.has_value()) return;
    closing_ = status;
    if (call_->context().cancelled()) closing_ = call_->Check();
    Advance();
  }
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_) return;
    if (!outbox_.empty()) {
      writing_ = true;
      this->StartWrite(&outbox_.front());
    } else if (closing_.has_value() && call_->Claim()) {
      this->Finish(call_->Finish(*closing_));
    }
  }

  std::shared_ptr<ActiveCall> call_;
  std::shared_ptr<Handle> handle_;
  std::function<void(In)> on_message_;
  std::function<void()> on_end_;
  In in_;
  absl::Mutex mutex_;
  std::deque<Out> outbox_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> closing_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tenon::server
