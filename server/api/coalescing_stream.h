// A stream to the client that nobody waits for: what comes while a message is on its way is gathered into the next one.
// A client that reads slowly gets fewer, larger messages; it holds up no thread, and one message is all that waits.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/formats/status.h"
#include "server/api/call_runner.h"

namespace tenon::server {

// gRPC keeps it alive until OnDone; others hold its Sink.
template <typename Message>
class CoalescingReactor final : public grpc::ServerWriteReactor<Message> {
 public:
  // The sender's end. Thread-safe; does nothing once the stream is over.
  class Sink {
   public:
    // Adds to the message that is written next; an empty one at first. `change` runs before this returns and must not
    // use the sink.
    void Add(const std::function<void(Message*)>& change) {
      absl::MutexLock lock(&mutex_);
      if (reactor_ == nullptr || end_.has_value() || broken_) return;
      if (!next_.has_value()) next_.emplace();
      change(&*next_);
      Advance();
    }
    // Ends the stream behind what was added, or at once when the client is gone. Only the first end counts.
    void End(const absl::Status& status) {
      absl::MutexLock lock(&mutex_);
      if (reactor_ == nullptr || end_.has_value()) return;
      end_ = status;
      Advance();
    }

   private:
    friend class CoalescingReactor;
    Sink(CoalescingReactor* reactor, std::shared_ptr<ActiveCall> call) : call_(std::move(call)), reactor_(reactor) {}

    void OnWritten(bool ok) {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      broken_ = !ok;  // OnCancel follows, and ends the stream
      if (ok) call_->CountSent();
      Advance();
    }
    void Forget() {
      absl::MutexLock lock(&mutex_);
      reactor_ = nullptr;
    }
    absl::Status Gone() const {
      const absl::Status why = call_->Check();
      return why.ok() ? TenonError(Reason::kCancelled, "the client is gone") : why;
    }
    void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      if (writing_) return;
      const bool gone = broken_ || call_->context().cancelled();
      if (next_.has_value() && !gone) {
        written_ = *std::move(next_);
        next_.reset();
        writing_ = true;
        reactor_->StartWrite(&written_);
      } else if (end_.has_value() && call_->Claim()) {
        reactor_->Finish(call_->Finish(gone ? Gone() : *end_));
      }
    }

    const std::shared_ptr<ActiveCall> call_;
    absl::Mutex mutex_;
    CoalescingReactor* reactor_ ABSL_GUARDED_BY(mutex_);
    Message written_ ABSL_GUARDED_BY(mutex_);
    std::optional<Message> next_ ABSL_GUARDED_BY(mutex_);
    std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
    bool writing_ ABSL_GUARDED_BY(mutex_) = false;
    bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  };

  explicit CoalescingReactor(std::shared_ptr<ActiveCall> call) : call_(call), sink_(new Sink(this, std::move(call))) {}
  const std::shared_ptr<Sink>& sink() const { return sink_; }

  void OnWriteDone(bool ok) override { sink_->OnWritten(ok); }
  void OnCancel() override { call_->Cancel(); }
  void OnDone() override {
    sink_->Forget();
    delete this;
  }

 private:
  const std::shared_ptr<ActiveCall> call_;
  const std::shared_ptr<Sink> sink_;
};

template <typename Message>
using MessageSink = typename CoalescingReactor<Message>::Sink;

}  // namespace tenon::server
