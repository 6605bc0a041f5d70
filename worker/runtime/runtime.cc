#include "worker/runtime/runtime.h"

#include <sched.h>

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/formats/status.h"
#include "worker/runtime/adapter_loader.h"
#include "worker/runtime/device_loop.h"
#include "worker/runtime/evaluation_run.h"
#include "worker/runtime/fair_foreground.h"
#include "worker/runtime/generation_queue.h"
#include "worker/runtime/inference_queue.h"
#include "worker/runtime/seq2seq_evaluation.h"
#include "worker/runtime/span_evaluation.h"
#include "worker/runtime/summaries.h"
#include "worker/runtime/task_pool.h"
#include "worker/runtime/training_run.h"

namespace tenon::runtime {
namespace {

// Cores that this process may run on.
int AvailableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

class RuntimeImpl final : public Runtime {
 public:
  RuntimeImpl(const Options& options, AdapterSource* source, const RuntimeObserver& observer,
              engine::SentenceSplitter splitter)
      : options_(options),
        tokenizers_(std::clamp(options.threads / 2, 1, 4)),
        loop_(options.training_floor, options.clock, observer.slice),
        adapters_({.device_slots = options.device_adapters, .host_bytes = options.host_adapter_bytes}, source,
                  options.clock, observer, [this](AdapterId id, const absl::Status& status) { OnAdapter(id, status); }),
        inference_(options, queue_parts(), observer),
        generation_(options, queue_parts(), observer),
        summaries_({&inference_, &generation_, &loop_, &tokenizers_, &next_call_, options.max_queued_tokens},
                   std::move(splitter)) {
    loop_.Start(&foreground_);
  }

  ~RuntimeImpl() override {
    // The device thread first: afterwards nothing is started any more.
    loop_.Stop();
    adapters_.Stop();
    tokenizers_.Stop();
    preparer_.Stop();
    publisher_.Stop();
  }

  absl::Status LoadBase(const std::string& digest, const std::filesystem::path& folder) override {
    {
      absl::MutexLock lock(&mutex_);
      if (bases_.contains(digest)) return absl::OkStatus();
    }
    // The device belongs to its thread, measuring and warming up included.
    ASSIGN_OR_RETURN(std::shared_ptr<const engine::Base> base,
                     engine::Base::Load(folder, {.device = options_.device,
                                                 .precision = options_.precision,
                                                 .digest = digest,
                                                 .run_alone = [this](const auto& work) { RunAsSlice(work); }}));
    absl::Status warm = TenonError(Reason::kShuttingDown, "the worker is going down");
    RunAsSlice([&] { warm = engine::WarmUp(*base); });
    RETURN_IF_ERROR(warm);
    adapters_.AddBase(digest, base);
    inference_.AddBase(digest, base);
    generation_.AddBase(digest, base);
    summaries_.AddBase(digest, base);
    absl::MutexLock lock(&mutex_);
    bases_[digest] = std::move(base);
    return absl::OkStatus();
  }

  std::vector<std::string> bases() const override {
    absl::MutexLock lock(&mutex_);
    std::vector<std::string> digests;
    for (const auto& [digest, base] : bases_) digests.push_back(digest);
    return digests;
  }

  void UnloadBase(const std::string& digest) override {
    std::shared_ptr<const engine::Base> base;  // destroyed outside the lock
    inference_.RemoveBase(digest);
    generation_.RemoveBase(digest);
    summaries_.RemoveBase(digest);
    loop_.Post([this] { generation_.DropIdleLanes(); });
    absl::MutexLock lock(&mutex_);
    const auto found = bases_.find(digest);
    if (found == bases_.end()) return;
    base = std::move(found->second);
    bases_.erase(found);
    std::erase_if(unloading_, [](const auto& entry) { return entry.second.expired(); });
    unloading_.emplace(digest, base);
  }

  std::vector<std::string> unloading_bases() const override {
    absl::MutexLock lock(&mutex_);
    std::vector<std::string> digests;
    for (const auto& [digest, base] : unloading_) {
      if (!base.expired()) digests.push_back(digest);
    }
    return digests;
  }

  uint64_t Submit(InferenceCall call, InferenceQueue::Done done) override {
    return inference_.Submit(std::move(call), std::move(done));
  }
  uint64_t SubmitGeneration(GenerationCall call, GenerationCallbacks callbacks) override {
    return generation_.Submit(std::move(call), std::move(callbacks));
  }
  uint64_t SubmitSummary(SummaryCall call, Summaries::Done done) override {
    return summaries_.Submit(std::move(call), std::move(done));
  }
  // An id is one queue's alone.
  void Cancel(uint64_t call) override {
    inference_.Cancel(call);
    generation_.Cancel(call);
    summaries_.Cancel(call);
  }

  absl::Status StartTraining(TrainJob job, TrainCallbacks callbacks) override {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(auto base, CheckJob(job.id, job.base_digest));
    const int64_t bytes = engine::Trainer::MemoryBytes(*base, job.options, job.validates());
    RETURN_IF_ERROR(CheckMemory(bytes));
    const std::string id = job.id;
    if (bytes > 0) training_bytes_[id] = bytes;
    const auto run = std::make_shared<TrainingRun>(
        std::move(job), std::move(callbacks),
        TrainingRun::Parts{.base = std::move(base),
                           .loop = &loop_,
                           .preparer = &preparer_,
                           .publisher = &publisher_,
                           .scratch = options_.scratch / absl::StrCat("job-", next_job_++),
                           .on_finished = [this, id] { Forget(id); }});
    jobs_[id] = run;
    loop_.Add(run);
    run->Start();
    return absl::OkStatus();
  }

  absl::Status StartEvaluation(EvalJob job, EvalCallbacks callbacks) override {
    return Evaluate(job.id, job.base_digest, [&](EvaluationJob::Parts parts) -> std::shared_ptr<EvaluationJob> {
      if (!job.words.empty() || !job.questions.empty()) {
        return std::make_shared<SpanEvaluation>(std::move(job), std::move(callbacks), slice_tokens(), std::move(parts));
      }
      return std::make_shared<EvaluationRun>(std::move(job), std::move(callbacks), slice_tokens(), std::move(parts));
    });
  }
  absl::Status StartSeq2SeqEvaluation(Seq2SeqEvalJob job, Seq2SeqEvalCallbacks callbacks) override {
    return Evaluate(job.id, job.base_digest, [&](EvaluationJob::Parts parts) {
      const Seq2SeqEvaluation::Limits limits{
          .slice_tokens = slice_tokens(),
          .decoder = {.max_lines = options_.max_decoder_lines, .max_tokens = options_.max_decoder_tokens}};
      return std::make_shared<Seq2SeqEvaluation>(std::move(job), std::move(callbacks), limits, std::move(parts));
    });
  }

  void CancelJob(const std::string& id) override {
    absl::MutexLock lock(&mutex_);
    const auto found = jobs_.find(id);
    if (found != jobs_.end()) found->second->Cancel();
  }

  RuntimeStats stats() const override {
    RuntimeStats stats;
    const Residency::Counts counts = adapters_.counts();
    stats.adapters_on_device = counts.on_device;
    stats.adapters_in_memory = counts.in_memory;
    stats.device_adapter_bytes = counts.device_bytes;
    stats.host_adapter_bytes = counts.host_bytes;
    stats.adapter_slots = options_.device_adapters;
    stats.queued_rows = inference_.queued_rows() + generation_.queued_rows();
    stats.queued_tokens = inference_.queued_tokens() + generation_.queued_tokens();
    absl::MutexLock lock(&mutex_);
    stats.base_bytes = BaseBytes();
    stats.training_bytes = TrainingBytes();
    return stats;
  }

 private:
  absl::StatusOr<std::shared_ptr<const engine::Base>> CheckJob(const std::string& id, const std::string& base) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (jobs_.contains(id)) return TenonError(Reason::kAlreadyExists, absl::StrCat("job ", id, " runs already"));
    const auto found = bases_.find(base);
    if (found == bases_.end()) return TenonError(Reason::kNoWorker, "this worker does not hold the base", "base");
    return found->second;
  }

  // Runs `work` on the device thread, between slices, and waits until it is done, or dropped because the loop ends.
  // What it throws, this throws.
  void RunAsSlice(const std::function<void()>& work) {
    absl::Notification gone;  // told when the function is, run or not
    std::shared_ptr<void> alive(nullptr, [&gone](void*) { gone.Notify(); });
    std::exception_ptr error;
    loop_.Post([&work, &error, alive = std::exchange(alive, nullptr)] {
      try {
        work();
      } catch (...) {
        error = std::current_exception();
      }
    });
    gone.WaitForNotification();
    if (error != nullptr) std::rethrow_exception(error);
  }

  int64_t BaseBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    int64_t bytes = 0;
    for (const auto& [digest, base] : bases_) bytes += base->ResidentBytes();
    for (const auto& [digest, unloading] : unloading_) {
      if (const auto base = unloading.lock()) bytes += base->ResidentBytes();
    }
    return bytes;
  }

  int64_t TrainingBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    int64_t bytes = 0;
    for (const auto& [id, job] : training_bytes_) bytes += job;
    return bytes;
  }

  // Whether `wanted` bytes are left of the device's memory. Nothing is asked of a job that wants none.
  absl::Status CheckMemory(int64_t wanted) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (wanted == 0 || options_.memory_bytes == 0) return absl::OkStatus();
    const int64_t used = BaseBytes() + TrainingBytes() + adapters_.counts().device_bytes;
    if (wanted <= options_.memory_bytes - used) return absl::OkStatus();
    return TenonError(Reason::kOutOfMemory,
                      absl::StrCat("training all weights of this base takes ", wanted >> 20, " MB beside it; of the ",
                                   options_.memory_bytes >> 20, " MB that this worker may use ",
                                   std::max<int64_t>(options_.memory_bytes - used, 0) >> 20, " MB are left"));
  }

  // Tokens that a background job's slice may read.
  int64_t slice_tokens() const { return std::max<int64_t>(1, options_.max_batch_tokens / 2); }

  // Starts what `make` makes of its parts.
  template <typename Make>
  absl::Status Evaluate(const std::string& job, const std::string& base_digest, const Make& make) {
    const std::string id = job;  // `make` takes the job
    std::shared_ptr<EvaluationJob> run;
    {
      absl::MutexLock lock(&mutex_);
      ASSIGN_OR_RETURN(auto base, CheckJob(id, base_digest));
      run = make(EvaluationJob::Parts{.base = std::move(base),
                                      .adapters = &adapters_,
                                      .loop = &loop_,
                                      .preparer = &preparer_,
                                      .publisher = &publisher_,
                                      .on_finished = [this, id] { Forget(id); }});
      jobs_[id] = run;
      evaluations_[id] = run;
    }
    loop_.Add(run);
    run->Start();
    return absl::OkStatus();
  }

  CallQueue::Parts queue_parts() { return {&adapters_, &loop_, &tokenizers_, options_.clock, &next_call_}; }

  void OnAdapter(AdapterId id, const absl::Status& status) {
    inference_.OnAdapter(id, status);
    generation_.OnAdapter(id, status);
    std::map<std::string, std::shared_ptr<EvaluationJob>> runs;
    {
      absl::MutexLock lock(&mutex_);
      runs = evaluations_;
    }
    for (const auto& [name, run] : runs) run->OnAdapter(id, status);
  }

  void Forget(const std::string& id) {
    std::shared_ptr<BackgroundJob> job;  // destroyed outside the lock
    absl::MutexLock lock(&mutex_);
    const auto found = jobs_.find(id);
    if (found == jobs_.end()) return;
    job = std::move(found->second);
    jobs_.erase(found);
    evaluations_.erase(id);
    training_bytes_.erase(id);
  }

  const Options options_;
  mutable absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<const engine::Base>> bases_ ABSL_GUARDED_BY(mutex_);
  std::multimap<std::string, std::weak_ptr<const engine::Base>> unloading_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<BackgroundJob>> jobs_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<EvaluationJob>> evaluations_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int64_t> training_bytes_ ABSL_GUARDED_BY(mutex_);  // by job, what it was admitted with
  int64_t next_job_ ABSL_GUARDED_BY(mutex_) = 1;

  TaskPool tokenizers_;
  TaskPool preparer_{1};
  TaskPool publisher_{1};
  DeviceLoop loop_;
  AdapterLoader adapters_;
  std::atomic<uint64_t> next_call_{1};
  InferenceQueue inference_;
  GenerationQueue generation_;
  FairForeground foreground_{{&inference_, &generation_}, options_.clock};
  Summaries summaries_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Runtime>> Runtime::Create(const Options& options, AdapterSource* source,
                                                         RuntimeObserver observer) {
  Options filled = options;
  if (filled.threads <= 0) filled.threads = AvailableCores();
  if (filled.max_batch_tokens < 1 || filled.max_batch_rows < 1 || filled.device_adapters < 1) {
    return TenonError(Reason::kOptionInvalid, "batch tokens, batch rows and adapter slots must be at least 1");
  }
  if (filled.max_decoder_lines < 1 || filled.max_decoder_tokens < 1) {
    return TenonError(Reason::kOptionInvalid, "a decoder's lines and tokens must be at least 1");
  }
  std::error_code error;
  std::filesystem::remove_all(filled.scratch, error);
  std::filesystem::create_directories(filled.scratch, error);
  if (error) {
    return TenonError(Reason::kOptionInvalid,
                      absl::StrCat("cannot use the scratch folder ", filled.scratch.string(), ": ", error.message()));
  }
  ASSIGN_OR_RETURN(engine::SentenceSplitter splitter, engine::SentenceSplitter::Make());
  engine::SetThreads(filled.threads);
  return std::make_unique<RuntimeImpl>(filled, source, observer, std::move(splitter));
}

}  // namespace tenon::runtime
