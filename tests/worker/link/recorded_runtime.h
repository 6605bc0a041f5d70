// A runtime that keeps what it is asked to do, so that a test answers when it likes. No torch, no device.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/formats/status.h"
#include "worker/runtime/runtime.h"
#include "worker/runtime/task_pool.h"

namespace tenon::testing {

// Thread-safe. CancelJob answers the job with CANCELLED, on a thread of its own, like the real one.
class RecordedRuntime final : public runtime::Runtime {
 public:
  using Done = std::function<void(absl::StatusOr<runtime::InferenceReply>)>;
  struct Call {
    uint64_t id = 0;
    runtime::InferenceCall in;
    Done done;
  };
  struct Generation {
    uint64_t id = 0;
    runtime::GenerationCall in;
    runtime::GenerationCallbacks callbacks;
  };
  struct Summary {
    uint64_t id = 0;
    runtime::SummaryCall in;
    std::function<void(absl::StatusOr<runtime::SummaryReply>)> done;
  };
  struct Training {
    runtime::TrainJob job;
    runtime::TrainCallbacks callbacks;
  };
  struct Evaluation {
    runtime::EvalJob job;
    runtime::EvalCallbacks callbacks;
  };
  struct Seq2SeqEvaluation {
    runtime::Seq2SeqEvalJob job;
    runtime::Seq2SeqEvalCallbacks callbacks;
  };

  absl::Status LoadBase(const std::string& digest, const std::filesystem::path& folder) override {
    absl::MutexLock lock(&mutex_);
    if (!load_error_.ok()) return load_error_;
    folders_[digest] = folder;
    return absl::OkStatus();
  }
  std::vector<std::string> bases() const override {
    absl::MutexLock lock(&mutex_);
    std::vector<std::string> digests;
    for (const auto& [digest, folder] : folders_) digests.push_back(digest);
    return digests;
  }
  void UnloadBase(const std::string& digest) override {
    absl::MutexLock lock(&mutex_);
    if (folders_.erase(digest) > 0 && in_use_) unloading_.push_back(digest);
  }
  std::vector<std::string> unloading_bases() const override {
    absl::MutexLock lock(&mutex_);
    return unloading_;
  }
  uint64_t Submit(runtime::InferenceCall call, Done done) override {
    absl::MutexLock lock(&mutex_);
    calls_.push_back({next_++, std::move(call), std::move(done)});
    return calls_.back().id;
  }
  uint64_t SubmitGeneration(runtime::GenerationCall call, runtime::GenerationCallbacks callbacks) override {
    absl::MutexLock lock(&mutex_);
    generations_.push_back({next_++, std::move(call), std::move(callbacks)});
    return generations_.back().id;
  }
  uint64_t SubmitSummary(runtime::SummaryCall call,
                         std::function<void(absl::StatusOr<runtime::SummaryReply>)> done) override {
    absl::MutexLock lock(&mutex_);
    summaries_.push_back({next_++, std::move(call), std::move(done)});
    return summaries_.back().id;
  }
  void Cancel(uint64_t call) override {
    absl::MutexLock lock(&mutex_);
    cancelled_.push_back(call);
  }
  absl::Status StartTraining(runtime::TrainJob job, runtime::TrainCallbacks callbacks) override {
    absl::MutexLock lock(&mutex_);
    const std::string id = job.id;
    trainings_[id] = {std::move(job), std::move(callbacks)};
    return absl::OkStatus();
  }
  absl::Status StartEvaluation(runtime::EvalJob job, runtime::EvalCallbacks callbacks) override {
    absl::MutexLock lock(&mutex_);
    const std::string id = job.id;
    evaluations_[id] = {std::move(job), std::move(callbacks)};
    return absl::OkStatus();
  }
  absl::Status StartSeq2SeqEvaluation(runtime::Seq2SeqEvalJob job, runtime::Seq2SeqEvalCallbacks callbacks) override {
    absl::MutexLock lock(&mutex_);
    const std::string id = job.id;
    seq2seq_evaluations_[id] = {std::move(job), std::move(callbacks)};
    return absl::OkStatus();
  }
  void CancelJob(const std::string& id) override {
    absl::MutexLock lock(&mutex_);
    const auto found = trainings_.find(id);
    if (found == trainings_.end()) return;
    publisher_.Post([done = found->second.callbacks.done] { done(TenonError(Reason::kCancelled, "cancelled")); });
    trainings_.erase(found);
  }
  runtime::RuntimeStats stats() const override {
    absl::MutexLock lock(&mutex_);
    ++looks_;
    return {.adapters_on_device = 3, .base_bytes = 77};
  }

  // --- For the test. The waits end after half a minute, with something empty.
  void FailLoads(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    load_error_ = status;
  }
  // Whether its stats were asked for so often within the time: once a heartbeat.
  bool WaitForLooks(int count, absl::Duration patience) const {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&] { return looks_ >= count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), patience);
  }
  // From now on somebody uses the bases, or nobody does any more.
  void UseBases(bool in_use) {
    absl::MutexLock lock(&mutex_);
    in_use_ = in_use;
    if (!in_use) unloading_.clear();
  }
  std::filesystem::path Folder(const std::string& digest) {
    absl::MutexLock lock(&mutex_);
    return folders_[digest];
  }
  Call TakeCall() { return Take(calls_); }
  Generation TakeGeneration() { return Take(generations_); }
  Summary TakeSummary() { return Take(summaries_); }
  bool WaitForCancelled(uint64_t call) {
    absl::MutexLock lock(&mutex_);
    const auto here = [&] { return std::find(cancelled_.begin(), cancelled_.end(), call) != cancelled_.end(); };
    return mutex_.AwaitWithTimeout(absl::Condition(&here), absl::Seconds(30));
  }
  Training WaitForTraining(const std::string& id) {
    absl::MutexLock lock(&mutex_);
    const auto here = [&] { return trainings_.contains(id); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&here), absl::Seconds(30))) return {};
    return trainings_[id];
  }
  bool WaitForNoTraining() {
    absl::MutexLock lock(&mutex_);
    const auto gone = [&] { return trainings_.empty(); };
    return mutex_.AwaitWithTimeout(absl::Condition(&gone), absl::Seconds(30));
  }
  Evaluation WaitForEvaluation(const std::string& id) {
    absl::MutexLock lock(&mutex_);
    const auto here = [&] { return evaluations_.contains(id); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&here), absl::Seconds(30))) return {};
    return evaluations_[id];
  }
  Seq2SeqEvaluation WaitForSeq2SeqEvaluation(const std::string& id) {
    absl::MutexLock lock(&mutex_);
    const auto here = [&] { return seq2seq_evaluations_.contains(id); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&here), absl::Seconds(30))) return {};
    return seq2seq_evaluations_[id];
  }
  // Lets go of every callback, as the end of the real one does.
  void Clear() {
    publisher_.Stop();
    absl::MutexLock lock(&mutex_);
    trainings_.clear();
    evaluations_.clear();
    seq2seq_evaluations_.clear();
    calls_.clear();
    generations_.clear();
    summaries_.clear();
  }

 private:
  template <typename T>
  T Take(std::vector<T>& calls) {
    absl::MutexLock lock(&mutex_);
    const auto here = [&] { return !calls.empty(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&here), absl::Seconds(30))) return {};
    T call = std::move(calls.front());
    calls.erase(calls.begin());
    return call;
  }

  mutable absl::Mutex mutex_;
  mutable int looks_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status load_error_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::filesystem::path> folders_ ABSL_GUARDED_BY(mutex_);
  bool in_use_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> unloading_ ABSL_GUARDED_BY(mutex_);
  std::vector<Call> calls_;  // these three: guarded by mutex_
  std::vector<Generation> generations_;
  std::vector<Summary> summaries_;
  std::vector<uint64_t> cancelled_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Training> trainings_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Evaluation> evaluations_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Seq2SeqEvaluation> seq2seq_evaluations_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_ ABSL_GUARDED_BY(mutex_) = 1;
  runtime::TaskPool publisher_{1};
};

}  // namespace tenon::testing
