#include "worker/link/work_stream.h"

#include <grpcpp/grpcpp.h>

#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "common/formats/status.h"
#include "worker/link/convert.h"
#include "worker/link/convert_generation.h"
#include "worker/link/convert_spans.h"

namespace tenon::link {

void WorkStream::Run() {
  stream_ = parts_.stub->Work(&context_);
  internal::v1::WorkRequest hello;
  hello.mutable_hello()->set_session(parts_.session);
  hello.mutable_hello()->set_credits(parts_.credits);
  std::thread writer;
  if (stream_->Write(hello)) {
    writer = std::thread([this] { WriteMessages(); });
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
    outstanding_[id] = {{request.kind(), request.has_adapter()}, 0};
  }
  const auto fail = [&](const absl::Status& status) { OnDone(id, absl::StatusOr<runtime::InferenceReply>(status)); };
  if (refused) return fail(TenonError(Reason::kShuttingDown, "the worker is going down"));
  if (request.has_adapter()) parts_.adapters->Remember(request.adapter());
  const absl::StatusOr<uint64_t> runtime_call = Submit(request);
  if (!runtime_call.ok()) return fail(runtime_call.status());
  absl::MutexLock lock(&mutex_);
  const auto found = outstanding_.find(id);
  if (found != outstanding_.end()) found->second.runtime_call = *runtime_call;
}

absl::StatusOr<uint64_t> WorkStream::Submit(const internal::v1::InferenceRequest& request) {
  // The runtime may answer after this stream is gone.
  const auto done = [weak = weak_from_this(), id = request.call_id()](auto reply) {
    if (const auto self = weak.lock()) self->OnDone(id, std::move(reply));
  };
  const absl::Time now = parts_.clock->Now();
  if (request.kind() == internal::v1::INFERENCE_KIND_GENERATE) {
    ASSIGN_OR_RETURN(runtime::GenerationCall call, ToGenerationCall(request, now));
    runtime::GenerationCallbacks callbacks;
    callbacks.delta = [weak = weak_from_this(), id = request.call_id()](const std::string& text) {
      if (const auto self = weak.lock()) self->OnDelta(id, text);
    };
    callbacks.done = done;
    return parts_.runtime->SubmitGeneration(std::move(call), std::move(callbacks));
  }
  if (request.kind() == internal::v1::INFERENCE_KIND_SUMMARIZE) {
    ASSIGN_OR_RETURN(runtime::SummaryCall call, ToSummaryCall(request, now));
    return parts_.runtime->SubmitSummary(std::move(call), done);
  }
  // What a head on every token says of a text is made of an encoder's rows.
  const auto submit = [&](auto rows) {
    return parts_.runtime->Submit(
        std::move(rows.call), [done, finish = std::move(rows.finish)](auto reply) { done(finish(std::move(reply))); });
  };
  if (request.kind() == internal::v1::INFERENCE_KIND_TAG) {
    ASSIGN_OR_RETURN(runtime::TagCall call, ToTagCall(request, now));
    return submit(runtime::Prepare(std::move(call)));
  }
  if (request.kind() == internal::v1::INFERENCE_KIND_ANSWER)
    return submit(runtime::Prepare(ToAnswerCall(request, now)));
  ASSIGN_OR_RETURN(runtime::InferenceCall call, ToCall(request, now));
  return parts_.runtime->Submit(std::move(call), done);
}

void WorkStream::Drop(uint64_t call_id) {
  uint64_t runtime_call = 0;
  {
    absl::MutexLock lock(&mutex_);
    outbox_.Drop(call_id);
    const auto found = outstanding_.find(call_id);
    if (found == outstanding_.end()) return;
    runtime_call = found->second.runtime_call;
    outstanding_.erase(found);
  }
  parts_.runtime->Cancel(runtime_call);
}

void WorkStream::OnDelta(uint64_t call_id, const std::string& text) {
  absl::MutexLock lock(&mutex_);
  if (outstanding_.contains(call_id)) outbox_.AddDelta(call_id, text);
}

void WorkStream::OnDone(uint64_t call_id, Outbox::Reply reply) {
  absl::MutexLock lock(&mutex_);
  const auto found = outstanding_.find(call_id);
  if (found == outstanding_.end()) return;
  outbox_.AddResult({call_id, found->second.asked, std::move(reply)});
  outstanding_.erase(found);
}

void WorkStream::WriteMessages() {
  while (true) {
    std::optional<Outbox::Message> message;
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      mutex_.Await(absl::Condition(this, &WorkStream::CanWrite));
      if (ended_) return;
      writing_ = true;
      message = outbox_.Next();
    }
    // When it fails, the reader ends, and with it everything.
    if (!stream_->Write(Outbox::ToRequest(*std::move(message)))) context_.TryCancel();
  }
}

}  // namespace tenon::link
