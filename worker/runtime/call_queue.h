// What a call of inference goes through, whatever its kind, before its rows can run: admission, an id, a deadline, its
// adapter, its tokens.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/runtime/adapter_loader.h"
#include "worker/runtime/device_loop.h"
#include "worker/runtime/task_pool.h"

namespace tenon::runtime {

// Thread-safe. A call waits for its adapter in host memory (whose configuration says how many tokens a text may have),
// then for a tokenizer thread; from there on it is the derived queue's. Whatever ends it first, its answer, an error,
// its deadline or Cancel, ends it once.
class CallQueue : public ForegroundWork {
 public:
  struct Parts {
    AdapterLoader* adapters;
    DeviceLoop* loop;
    TaskPool* tokenizers;
    const Clock* clock;
    std::atomic<uint64_t>* next_call;  // one sequence for all queues of a runtime
  };

  void AddBase(const std::string& digest, std::shared_ptr<const engine::Base> base);
  // Calls that came before keep it.
  void RemoveBase(const std::string& digest);
  // Nothing happens for an id that is another queue's, or nobody's.
  void Cancel(uint64_t id);
  // From the loader: an adapter arrived somewhere, or failed.
  void OnAdapter(AdapterId id, const absl::Status& status);
  int64_t queued_rows() const;
  int64_t queued_tokens() const;

  bool Ready(absl::Time now) final;
  absl::Time NextWake(absl::Time now) final;

 protected:
  struct Call {
    virtual ~Call() = default;
    // Of whoever enters it.
    std::string base_digest, adapter_digest;
    absl::Time deadline;
    bool check_only = false;  // no texts: host memory is enough
    int64_t estimate = 0;     // tokens by bytes, while the true number is not known
    // Of this queue.
    uint64_t id = 0;
    std::shared_ptr<const engine::Base> base;
    uint64_t base_number = 0;  // small, from 1
    AdapterId adapter = kNoAdapter;
    Residency::Host host;  // once it is in memory
    absl::Time submitted;
    std::optional<absl::Time> started;  // of its first row
    std::optional<std::multimap<absl::Time, std::shared_ptr<Call>>::iterator> deadline_entry;
  };
  using CallPtr = std::shared_ptr<Call>;

  CallQueue(const Parts& parts, int64_t max_queued_tokens) : parts_(parts), max_queued_tokens_(max_queued_tokens) {}

  // Takes a call in that asks for `in`; its id.
  template <typename In>
  uint64_t Enter(const CallPtr& call, const In& in) {
    call->base_digest = in.base_digest;
    call->adapter_digest = in.adapter_digest;
    call->deadline = in.deadline;
    call->check_only = in.texts.empty();
    call->estimate = Estimate(in.texts);
    if constexpr (requires { in.text_pairs; }) call->estimate += Estimate(in.text_pairs);
    return Enter(call);
  }
  bool Alive(uint64_t id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return calls_.contains(id); }
  // The true numbers are in the derived queue's lists now.
  void Settle(Call& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { estimated_ -= std::exchange(call.estimate, 0); }
  // Takes the call out of every list, if it is there still; the caller calls Answer without the lock.
  bool Remove(const CallPtr& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // On the device thread, for a call that was removed.
  void Answer(const CallPtr& call, const absl::Status& status);
  // From any thread: removes and answers it on the device thread, unless something else ends it first.
  void End(const CallPtr& call, const absl::Status& status);
  absl::Duration QueueTime(const Call& call) const;

  // What a derived queue adds. The first two say what it refuses: at once, and once the adapter is known.
  virtual absl::Status Check(const Call& call) const = 0;
  virtual absl::Status CheckAdapter(const Call& call) const = 0;
  // On a tokenizer thread, no lock held; puts the rows into the derived queue's lists, or ends the call.
  virtual void Tokenize(const CallPtr& call) = 0;
  virtual void Forget(const Call& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  virtual bool HasReady(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  virtual int64_t WaitingRows() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  virtual int64_t WaitingTokens() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  // Calls `done`. On the device thread, no lock held.
  virtual void Respond(Call& call, const absl::Status& status) = 0;

  const Parts parts_;
  mutable absl::Mutex mutex_;

 private:
  struct BaseEntry {
    uint64_t number = 0;
    std::shared_ptr<const engine::Base> base;
  };
  uint64_t Enter(const CallPtr& call);
  // Tokens by bytes of texts.
  static int64_t Estimate(const std::vector<std::string>& texts);
  absl::Status Admit(Call& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Advance(const CallPtr& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t max_queued_tokens_;
  std::unordered_map<std::string, BaseEntry> bases_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_base_ ABSL_GUARDED_BY(mutex_) = 1;
  std::unordered_map<uint64_t, CallPtr> calls_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<AdapterId, std::map<uint64_t, CallPtr>> by_adapter_ ABSL_GUARDED_BY(mutex_);
  std::multimap<absl::Time, CallPtr> deadlines_ ABSL_GUARDED_BY(mutex_);
  int64_t estimated_ ABSL_GUARDED_BY(mutex_) = 0;  // tokens of calls that have no tokens yet
};

}  // namespace tenon::runtime
