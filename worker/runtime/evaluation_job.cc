#include "worker/runtime/evaluation_job.h"

#include <utility>

#include "common/formats/status.h"

namespace tenon::runtime {

EvaluationJob::EvaluationJob(std::string base_digest, std::vector<std::string> adapters, bool host_only, Parts parts)
    : base_digest_(std::move(base_digest)),
      adapters_(std::move(adapters)),
      host_only_(host_only),
      parts_(std::move(parts)) {}

bool EvaluationJob::Move(State from, State to) {
  absl::MutexLock lock(&mutex_);
  if (state_ != from) return false;
  state_ = to;
  return true;
}

// Asks for the next adapter, or ends the job.
void EvaluationJob::Next() {
  if (done_ == adapters_.size()) return Finish(absl::OkStatus());
  bool here = false;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == State::kFinished) return;  // its adapter failed meanwhile
    state_ = State::kWaiting;
    if (!adapters_[done_].empty()) adapter_ = parts_.adapters->Want({base_digest_, adapters_[done_]}, host_only_);
    here = adapter_ == kNoAdapter || parts_.adapters->HostHandle(adapter_) != nullptr;
    if (here) state_ = State::kPreparing;
  }
  if (here) PostPrepare();
}

void EvaluationJob::OnAdapter(AdapterId id, const absl::Status& status) {
  bool prepare = false, failed = false;
  {
    absl::MutexLock lock(&mutex_);
    if (id != adapter_ || id == kNoAdapter || state_ == State::kFinished) return;
    failed = !status.ok();
    prepare = status.ok() && state_ == State::kWaiting;
    if (prepare) state_ = State::kPreparing;
  }
  if (prepare) PostPrepare();
  if (failed) Finish(status);
}

void EvaluationJob::PostPrepare() {
  parts_.preparer->Post([self = shared_from_this()] {
    AdapterId adapter;
    {
      absl::MutexLock lock(&self->mutex_);
      adapter = self->adapter_;
    }
    if (adapter != kNoAdapter) {
      self->host_ = self->parts_.adapters->HostHandle(adapter);
      if (self->host_ == nullptr) {
        return self->Finish(TenonError(Reason::kInternal, "an adapter left memory while an evaluation waited for it"));
      }
    }
    if (const absl::Status status = self->Prepare(self->host_); !status.ok()) return self->Finish(status);
    if (self->Move(State::kPreparing, State::kRunning)) self->parts_.loop->Wake();
  });
}

bool EvaluationJob::Ready() {
  absl::MutexLock lock(&mutex_);
  if (state_ == State::kFinished) return false;
  if (cancelled_) return true;
  return state_ == State::kRunning && (adapter_ == kNoAdapter || host_only_ || parts_.adapters->OnDevice(adapter_));
}

bool EvaluationJob::finished() const {
  absl::MutexLock lock(&mutex_);
  return state_ == State::kFinished;
}

void EvaluationJob::Cancel() {
  cancelled_ = true;
  parts_.loop->Wake();
}

void EvaluationJob::RunSlice() {
  AdapterId adapter;
  bool running = false;
  {
    absl::MutexLock lock(&mutex_);
    adapter = adapter_;
    running = state_ == State::kRunning;
  }
  if (cancelled_) {
    if (running) Drop();
    return Finish(TenonError(Reason::kCancelled, "the job was cancelled"));
  }
  Residency::Device device;
  if (adapter != kNoAdapter && !host_only_) {
    device = parts_.adapters->DeviceHandle(adapter);
    if (device == nullptr) return;  // evicted since Ready; it is queued again
    parts_.adapters->Touch(adapter);
  }
  const absl::StatusOr<bool> through = RunRows(device);
  if (!through.ok()) {
    Drop();
    return Finish(through.status());
  }
  if (*through && Move(State::kRunning, State::kCounting)) PostCount();
}

void EvaluationJob::PostCount() {
  LetGo();
  parts_.preparer->Post([self = shared_from_this()] {
    if (const absl::Status status = self->Count(self->host_); !status.ok()) return self->Finish(status);
    self->host_.reset();
    ++self->done_;
    self->Next();
  });
}

// Gives back what Next wanted, once: the device thread and the loader's may both come here.
void EvaluationJob::LetGo() {
  absl::MutexLock lock(&mutex_);
  const AdapterId adapter = std::exchange(adapter_, kNoAdapter);
  if (adapter != kNoAdapter) parts_.adapters->Unwant(adapter, host_only_);
}

void EvaluationJob::Finish(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == State::kFinished) return;
    state_ = State::kFinished;
  }
  LetGo();
  parts_.publisher->Post([self = shared_from_this(), status] {
    self->parts_.on_finished();  // the id is free by the time that anybody hears of the end
    self->Report(status);
  });
}

}  // namespace tenon::runtime
