// Inference calls from arrival to answer: admission, tokens, waiting for adapters, batches, deadlines.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/runtime/adapter_loader.h"
#include "worker/runtime/batcher.h"
#include "worker/runtime/device_loop.h"
#include "worker/runtime/runtime.h"
#include "worker/runtime/task_pool.h"

namespace tenon::runtime {

// Thread-safe. A call waits for its adapter in host memory (whose configuration says how many tokens a text may have),
// then for a tokenizer thread, then, row by row, for its adapter on the device and a place in a batch.
class InferenceQueue final : public ForegroundWork {
 public:
  using Done = std::function<void(absl::StatusOr<InferenceReply>)>;
  struct Parts {
    AdapterLoader* adapters;
    DeviceLoop* loop;
    TaskPool* tokenizers;
    const Clock* clock;
  };
  InferenceQueue(const Runtime::Options& options, const Parts& parts, RuntimeObserver observer);

  void AddBase(const std::string& digest, std::shared_ptr<const engine::Base> base);
  // Calls that came before keep it.
  void RemoveBase(const std::string& digest);
  uint64_t Submit(InferenceCall in, Done done);
  void Cancel(uint64_t id);
  // From the loader: an adapter arrived somewhere, or failed.
  void OnAdapter(AdapterId id, const absl::Status& status);
  int64_t queued_rows() const;
  int64_t queued_tokens() const;

  bool Ready(absl::Time now) override;
  void RunSlice() override;
  absl::Time NextWake(absl::Time now) override;

 private:
  struct Call;
  struct BaseEntry {
    uint64_t number = 0;  // the batcher's name for it
    std::shared_ptr<const engine::Base> base;
  };
  using CallPtr = std::shared_ptr<Call>;
  using Pins = std::unordered_map<AdapterId, Residency::Device>;
  struct WorkRow {
    CallPtr call;
    int32_t index = 0;
    const engine::DeviceAdapter* adapter = nullptr;
  };
  using Finished = std::vector<std::pair<CallPtr, absl::StatusOr<InferenceReply>>>;

  absl::Status Admit(Call& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Advance(const CallPtr& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Tokenize(const CallPtr& call);
  std::vector<WorkRow> TakeBatch(Pins& pins);
  void Compute(const std::vector<WorkRow>& rows);
  void Deliver(const std::vector<WorkRow>& rows, absl::StatusOr<std::vector<std::vector<float>>> values,
               absl::Duration took);
  // Takes the call out of every list; the caller calls Answer without the lock.
  bool Remove(const CallPtr& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Answer(const CallPtr& call, absl::StatusOr<InferenceReply> reply);

  const Runtime::Options options_;
  const Parts parts_;
  const RuntimeObserver observer_;

  mutable absl::Mutex mutex_;
  std::unordered_map<std::string, BaseEntry> bases_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<uint64_t, CallPtr> calls_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<AdapterId, std::map<uint64_t, CallPtr>> by_adapter_ ABSL_GUARDED_BY(mutex_);
  std::multimap<absl::Time, CallPtr> deadlines_ ABSL_GUARDED_BY(mutex_);
  Batcher batcher_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_base_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t next_call_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t estimated_ ABSL_GUARDED_BY(mutex_) = 0;  // tokens of calls that have no tokens yet
};

}  // namespace tenon::runtime
