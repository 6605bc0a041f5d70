// Generation calls from their tokens to their answer: rows of many calls share each base's decoder.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "worker/runtime/call_queue.h"
#include "worker/runtime/decoder_lane.h"
#include "worker/runtime/join_queue.h"
#include "worker/runtime/runtime.h"

namespace tenon::runtime {

// Thread-safe. A slice is a decode step of one base, bases taking turns: lines of calls that ended are freed, rows
// whose adapter is on the device join as far as there is room (join_queue.h says whose), every line gets a token, and
// what is finished leaves. A row holds its adapter from joining to leaving.
class GenerationQueue final : public CallQueue {
 public:
  GenerationQueue(const Runtime::Options& options, const Parts& parts, RuntimeObserver observer);

  uint64_t Submit(GenerationCall in, GenerationCallbacks callbacks);
  // Lets go of bases that nobody waits for. On the device thread.
  void DropIdleLanes();
  const char* RunSlice() override;

 private:
  struct Writing;
  using WritingPtr = std::shared_ptr<Writing>;
  struct Running {
    WritingPtr call;
    JoinQueue::Row row;
  };
  // A base's. `decoder` is the device thread's, the rest is guarded by mutex_.
  struct Lane {
    DecoderLane decoder;
    JoinQueue waiting;
    std::map<uint64_t, Running> running;  // by the request's id in the decoder
    std::vector<uint64_t> cancelled;      // requests whose calls ended, lines not freed yet
  };
  using Ended = std::vector<std::pair<WritingPtr, absl::Status>>;

  absl::Status Check(const Call& call) const override;
  absl::Status CheckAdapter(const Call&) const override { return absl::OkStatus(); }
  void Tokenize(const CallPtr& call) override;
  static int64_t VirtualTokens(const Writing& call);
  // Every row's tokens and plan into the call.
  absl::Status ReadRows(Writing& call) const;
  absl::Status CheckPrompt(const Writing& call, size_t row, const engine::Encoding& encoding) const;
  absl::StatusOr<engine::GenerationPlan> Plan(const Writing& call, const engine::Encoding& encoding) const;
  void Forget(const Call& call) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasReady(absl::Time now) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t WaitingRows() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t WaitingTokens() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Respond(Call& call, const absl::Status& status) override;

  // Of a slice, on the device thread.
  JoinQueue::Ready MayJoin(absl::Time now) const;
  bool LaneReady(const Lane& lane, absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Lane* NextLane();
  absl::Status FreeLines(Lane& lane);
  int64_t JoinRows(Lane& lane);
  std::vector<engine::GenerationRequest> TakeRows(Lane& lane, const absl::Status& opened, Ended& ended);
  engine::GenerationRequest MakeRequest(const Writing& call, const JoinQueue::Row& row, Residency::Device adapter)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Step(Lane& lane, int64_t read_tokens, absl::Time start);
  void Deliver(Lane& lane, std::vector<engine::GenerationEvent> events, absl::Duration took);
  void FailRunning(Lane& lane, const absl::Status& status);
  void AnswerAll(const Ended& ended);

  const Runtime::Options options_;
  const RuntimeObserver observer_;
  std::map<uint64_t, Lane> lanes_ ABSL_GUARDED_BY(mutex_);                    // by the base's number
  std::unordered_map<uint64_t, WritingPtr> writing_ ABSL_GUARDED_BY(mutex_);  // calls that are in a lane
  uint64_t last_lane_ ABSL_GUARDED_BY(mutex_) = 0, next_request_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace tenon::runtime
