#include "tests/server/api/fake_worker.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace tenon::server {

using internal::v1::InferenceRequest;
using internal::v1::InferenceResult;
using internal::v1::LinkRequest;
using internal::v1::LinkResponse;
using internal::v1::WorkRequest;
using internal::v1::WorkResponse;

FakeWorker::FakeWorker(int port, Options options) : options_(std::move(options)) {
  // A channel of its own: gRPC shares connections between equal ones.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  stub_ = internal::v1::WorkerLinkService::NewStub(
      grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials(), arguments));
  link_thread_ = std::thread([this] { RunLink(); });
}

FakeWorker::~FakeWorker() {
  Kill();
  link_thread_.join();
  if (work_thread_.joinable()) work_thread_.join();
}

std::optional<InferenceResult> FakeWorker::Scores(const InferenceRequest& request) {
  InferenceResult result;
  result.set_call_id(request.call_id());
  for (int i = 0; i < request.texts_size(); ++i) {
    auto* row = result.add_rows();
    for (const float score : {.1f, .7f, .2f}) row->add_values(score);
    row->set_input_tokens(4);
  }
  result.set_input_tokens(4 * request.texts_size());
  return result;
}

std::optional<InferenceResult> FakeWorker::Write(const InferenceRequest& request) {
  InferenceResult result;
  result.set_call_id(request.call_id());
  for (const std::string& text : request.texts()) {
    auto* row = result.add_rows();
    row->set_input_tokens(4);
    if (request.kind() == internal::v1::INFERENCE_KIND_SUMMARIZE) {
      row->mutable_summary()->set_summary(text + "!");
      row->mutable_summary()->set_kind(v1::Summary::ABSTRACTIVE);
      row->mutable_summary()->set_input_tokens(4);
      row->mutable_summary()->set_output_tokens(3);
    } else {
      auto* output = row->mutable_generation()->add_outputs();
      output->set_text(text + "!");
      output->set_finish_reason(v1::FINISH_REASON_EOS);
      row->mutable_generation()->set_input_tokens(4);
      row->mutable_generation()->set_output_tokens(3);
    }
  }
  result.set_input_tokens(4 * request.texts_size());
  result.set_output_tokens(3 * request.texts_size());
  return result;
}

void FakeWorker::RunLink() {
  auto stream = stub_->Link(&link_context_);
  LinkRequest message;
  message.mutable_hello()->set_worker_id(options_.id);
  message.mutable_hello()->set_session(options_.session);
  message.mutable_hello()->set_device("cpu");
  message.mutable_hello()->set_version("0.1.0");
  stream->Write(message);
  LinkResponse response;
  while (stream->Read(&response)) {
    if (response.has_welcome()) {
      work_thread_ = std::thread([this] { RunWork(); });
      absl::MutexLock lock(&mutex_);
      welcome_ = true;
    } else if (response.has_unload_base()) {
      absl::MutexLock lock(&mutex_);
      unloads_.push_back(response.unload_base().digest());
    } else if (response.has_load_base() && options_.load_bases) {
      LinkRequest loaded;
      loaded.mutable_base_loaded()->set_digest(response.load_base().digest());
      stream->Write(loaded);
    }
  }
  const grpc::Status status = stream->Finish();
  absl::MutexLock lock(&mutex_);
  end_ = status;
}

void FakeWorker::RunWork() {
  {
    absl::MutexLock lock(&write_mutex_);
    work_stream_ = stub_->Work(&work_context_);
    WorkRequest hello;
    hello.mutable_hello()->set_session(options_.session);
    hello.mutable_hello()->set_credits(options_.credits);
    work_stream_->Write(hello);
  }
  WorkResponse response;
  while (work_stream_->Read(&response)) {
    std::optional<InferenceResult> result;
    if (response.has_request()) result = options_.answer(response.request());
    {
      absl::MutexLock lock(&mutex_);
      if (response.has_request()) requests_.push_back(response.request());
      if (response.has_cancel()) cancels_.push_back(response.cancel().call_id());
    }
    if (result.has_value()) Send(*result);
  }
}

void FakeWorker::Send(const InferenceResult& result) {
  absl::MutexLock lock(&write_mutex_);
  WorkRequest message;
  *message.mutable_result() = result;
  work_stream_->Write(message);
}

void FakeWorker::SendDelta(uint64_t call_id, const std::string& text) {
  absl::MutexLock lock(&write_mutex_);
  WorkRequest message;
  message.mutable_delta()->set_call_id(call_id);
  message.mutable_delta()->set_text(text);
  work_stream_->Write(message);
}

bool FakeWorker::WaitForWelcome() {
  absl::MutexLock lock(&mutex_);
  const auto known = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return welcome_ || end_.has_value(); };
  mutex_.Await(absl::Condition(&known));
  return welcome_;
}

std::vector<InferenceRequest> FakeWorker::WaitForRequests(size_t count) {
  absl::MutexLock lock(&mutex_);
  const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return requests_.size() >= count; };
  mutex_.Await(absl::Condition(&enough));
  return requests_;
}

std::vector<uint64_t> FakeWorker::WaitForCancels(size_t count) {
  absl::MutexLock lock(&mutex_);
  const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return cancels_.size() >= count; };
  mutex_.Await(absl::Condition(&enough));
  return cancels_;
}

std::vector<std::string> FakeWorker::WaitForUnloads(size_t count) {
  absl::MutexLock lock(&mutex_);
  const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return unloads_.size() >= count; };
  mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(30));
  return unloads_;
}

grpc::Status FakeWorker::WaitForEnd() {
  absl::MutexLock lock(&mutex_);
  const auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return end_.has_value(); };
  mutex_.Await(absl::Condition(&ended));
  return *end_;
}

void FakeWorker::Kill() {
  link_context_.TryCancel();
  work_context_.TryCancel();
}

}  // namespace tenon::server
