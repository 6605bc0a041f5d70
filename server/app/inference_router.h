// Inference on the event loop: queues calls, sends them to workers against their credits, and takes their answers back.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "common/event_loop.h"
#include "server/dispatch/dispatcher.h"
#include "server/dispatch/inference.h"
#include "server/fleet/fleet.h"

namespace tenon::server {

// What is measured of calls. Called on the loop.
class InferenceObserver {
 public:
  virtual ~InferenceObserver() = default;
  virtual void OnDispatched(internal::v1::InferenceKind kind, absl::Duration waited, int attempt) = 0;
  // The tokens are the worker's count; 0 on errors.
  virtual void OnFinished(internal::v1::InferenceKind kind, const absl::Status& status, int64_t rows,
                          int64_t input_tokens, int64_t output_tokens) = 0;
  // A streamed reply began: time from admission to the first text, and ended: time from there to its end, for each
  // token behind the first (replies of two tokens or more).
  virtual void OnFirstText(absl::Duration since_admission) = 0;
  virtual void OnStreamEnd(absl::Duration per_token) = 0;
};

// Submit and Cancel are thread-safe; all else is called on the loop. Must outlive what is posted: destroy the loop
// first.
class LoopInferenceRouter final : public InferenceRouter {
 public:
  struct Parts {
    EventLoop* loop = nullptr;
    const Clock* clock = nullptr;
    Fleet* fleet = nullptr;
    InferenceObserver* observer = nullptr;  // may be null
  };
  LoopInferenceRouter(const Parts& parts, const Dispatcher::Options& options);

  uint64_t Submit(InferenceCall call, Done done) override;
  void Cancel(uint64_t call) override;

  // --- For the worker link, on the loop.
  using Send = std::function<void(internal::v1::WorkResponse)>;
  void OpenWorker(const std::string& session, int64_t credits, Send send);
  void CloseWorker(const std::string& session);
  void OnResult(const std::string& session, internal::v1::InferenceResult result);
  // A part of a streamed text.
  void OnDelta(const std::string& session, internal::v1::GenerationDelta delta);
  // A base became ready or a worker was lost: sends what can be sent, fails what cannot be answered any more.
  void OnFleetChanged();
  // The worker was told to unload the base. OnFleetChanged is to follow.
  void OnBaseGone(const std::string& session, const std::string& base_digest) {
    dispatcher_.RemoveBase(session, base_digest);
  }
  // Drops what is past its deadline. Every 100 ms or so.
  void Tick();
  // Called before a call on an unknown base is refused: the catalog may be ahead of the fleet.
  void set_refresh(std::function<void()> refresh) { refresh_ = std::move(refresh); }
  // Everything that waits or runs fails with SHUTTING_DOWN, and so does all that comes.
  void Stop();

  // Thread-safe.
  Dispatcher::Load load() const;

 private:
  struct Pending {
    InferenceCall call;
    Done done;
    int64_t charge = 0;
    absl::Time start;
    absl::Time first_text = absl::InfiniteFuture();  // of a streamed reply that was shown in part
  };

  void Start(uint64_t id, Pending pending);
  // A worker went away with the call, which no other is asked for.
  void Lose(uint64_t id, const char* how);
  void OnGivenBack(const std::string& session, uint64_t call);
  void Pump();
  void SendTo(const Dispatcher::Assignment& assignment);
  void StopOnWorker(const Dispatcher::Dropped& dropped);
  void Finish(uint64_t id, absl::StatusOr<internal::v1::InferenceResult> result);

  const Parts parts_;
  Dispatcher dispatcher_;
  std::function<void()> refresh_;
  std::unordered_map<uint64_t, Pending> pending_;
  std::map<std::string, Send> workers_;
  bool stopped_ = false;
  std::atomic<uint64_t> next_id_{1};
  mutable absl::Mutex mutex_;
  Dispatcher::Load load_ ABSL_GUARDED_BY(mutex_);  // as of the last change
};

}  // namespace tenon::server
