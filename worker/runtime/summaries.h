// Summary calls, from arrival to answer: made of calls to the other two queues.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/engine/text/sentences.h"
#include "worker/runtime/generation_queue.h"
#include "worker/runtime/inference_queue.h"

namespace tenon::runtime {

// Thread-safe. A base that generates writes summaries, by rounds where that was asked for (summary_rounds.h); one that
// encodes chooses sentences by an adapter's scores, or by their embeddings (extractive_summary.h). Texts are cut and
// counted on the tokenizers' threads.
class Summaries {
 public:
  using Done = std::function<void(absl::StatusOr<SummaryReply>)>;
  struct Parts {
    InferenceQueue* inference;
    GenerationQueue* generation;
    DeviceLoop* loop;
    TaskPool* workers;
    std::atomic<uint64_t>* next_call;
    int64_t max_queued_tokens = 0;  // by bytes, of calls taken in; beyond: QUEUE_FULL
  };
  Summaries(const Parts& parts, engine::SentenceSplitter splitter) : parts_(parts), splitter_(std::move(splitter)) {}

  void AddBase(const std::string& digest, std::shared_ptr<const engine::Base> base);
  // Calls that came before keep it.
  void RemoveBase(const std::string& digest);
  uint64_t Submit(SummaryCall in, Done done);
  void Cancel(uint64_t id);

 private:
  struct Call;
  using CallPtr = std::shared_ptr<Call>;

  absl::Status Admit(Call& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // On the tokenizers' threads, one after another for a call.
  void Begin(const CallPtr& call);
  void AskScorer(const CallPtr& call);
  void BeginExtractive(const CallPtr& call, const std::optional<formats::SentenceScorer>& scorer);
  void ReadSentences(const CallPtr& call);
  absl::Status Choose(const CallPtr& call, const InferenceReply& reply);
  void AskAdapter(const CallPtr& call);
  void BeginRounds(const CallPtr& call, int64_t max_tokens);
  void NextRound(const CallPtr& call);
  void TakeRound(const CallPtr& call, const absl::StatusOr<GenerationReply>& reply);
  // Not cancelled, and not over.
  bool Alive(const CallPtr& call);
  // Submits a call to another queue, unless this one has ended.
  void Ask(const CallPtr& call, InferenceCall part, std::function<void(const absl::StatusOr<InferenceReply>&)> then);
  // Answers on the device thread, unless the call was cancelled.
  void End(const CallPtr& call, const absl::Status& status);

  const Parts parts_;
  const engine::SentenceSplitter splitter_;
  absl::Mutex mutex_;  // before the queues' own
  std::unordered_map<std::string, std::shared_ptr<const engine::Base>> bases_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<uint64_t, CallPtr> calls_ ABSL_GUARDED_BY(mutex_);
  int64_t tokens_ ABSL_GUARDED_BY(mutex_) = 0;  // by bytes, of calls_
};

}  // namespace tenon::runtime
