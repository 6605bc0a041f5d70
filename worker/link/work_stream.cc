#include "worker/link/work_stream.h"

#include <grpcpp/grpcpp.h>

#include <thread>
#include <utility>
#include <vector>

#include "common/formats/status.h"
#include "worker/link/convert.h"

namespace tenon::link {

void WorkStream::Run() {
  stream_ = parts_.stub->Work(&context_);
  internal::v1::WorkRequest hello;
  hello.mutable_hello()->set_session(parts_.session);
  hello.mutable_hello()->set_credits(parts_.credits);
  std::thread writer;
  if (stream_->Write(hello)) {
    writer = std::thread([this] { WriteResults(); });
    internal::v1::WorkResponse response;
    while (stream_->Read(&response)) {
      if (response.has_request()) Take(response.request());
      if (response.has_cancel()) Drop(response.cancel().call_id());
    }
  }
  std::vector<uint64_t> dropped;
  {
    absl::MutexLock lock(&mutex_);
    ended_ = true;
    for (const auto& [id, call] : outstanding_) dropped.push_back(call.runtime_call);
    outstanding_.clear();
  }
  for (const uint64_t call : dropped) parts_.runtime->Cancel(call);
  context_.TryCancel();  // a write that waits for a peer that is gone
  if (writer.joinable()) writer.join();
  stream_->Finish();
}

void WorkStream::Cancel() { context_.TryCancel(); }

void WorkStream::Refuse() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
}

void WorkStream::Drain(absl::Duration timeout) {
  Refuse();
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(this, &WorkStream::Idle), timeout);
}

void WorkStream::Take(const internal::v1::InferenceRequest& request) {
  const uint64_t id = request.call_id();
  bool refused = false;
  {
    absl::MutexLock lock(&mutex_);
    refused = draining_;
    outstanding_[id] = {request.kind(), request.has_adapter(), 0};
  }
  if (refused) return OnDone(id, TenonError(Reason::kShuttingDown, "the worker is going down"));
  if (request.has_adapter()) parts_.adapters->Remember(request.adapter());
  absl::StatusOr<runtime::InferenceCall> call = ToCall(request, parts_.clock->Now());
  if (!call.ok()) return OnDone(id, call.status());
  // The runtime may answer after this stream is gone.
  const uint64_t runtime_call = parts_.runtime->Submit(
      *std::move(call), [weak = weak_from_this(), id](absl::StatusOr<runtime::InferenceReply> r) {
        if (const auto self = weak.lock()) self->OnDone(id, std::move(r));
      });
  absl::MutexLock lock(&mutex_);
  const auto found = outstanding_.find(id);
  if (found != outstanding_.end()) found->second.runtime_call = runtime_call;
}

void WorkStream::Drop(uint64_t call_id) {
  uint64_t runtime_call = 0;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = outstanding_.find(call_id);
    if (found == outstanding_.end()) return;
    runtime_call = found->second.runtime_call;
    outstanding_.erase(found);
  }
  parts_.runtime->Cancel(runtime_call);
}

void WorkStream::OnDone(uint64_t call_id, absl::StatusOr<runtime::InferenceReply> reply) {
  absl::MutexLock lock(&mutex_);
  const auto found = outstanding_.find(call_id);
  if (found == outstanding_.end()) return;
  results_.push_back({call_id, found->second.kind, found->second.has_adapter, std::move(reply)});
  outstanding_.erase(found);
}

void WorkStream::WriteResults() {
  while (true) {
    std::deque<Result> results;
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      mutex_.Await(absl::Condition(this, &WorkStream::CanWrite));
      if (ended_) return;
      writing_ = true;
      results.swap(results_);
    }
    for (const Result& result : results) {
      internal::v1::WorkRequest message;
      *message.mutable_result() = ToResult(result.call_id, result.kind, result.has_adapter, result.reply);
      if (!stream_->Write(message)) context_.TryCancel();  // the reader ends, and with it everything
    }
  }
}

}  // namespace tenon::link
