// Encoder calls (labels, vectors) from their tokens to their answer: rows of many calls share batches.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "worker/runtime/batcher.h"
#include "worker/runtime/call_queue.h"
#include "worker/runtime/runtime.h"

namespace tenon::runtime {

// Thread-safe. A call that has its tokens waits, row by row, for its adapter on the device and a place in a batch.
class InferenceQueue final : public CallQueue {
 public:
  using Done = std::function<void(absl::StatusOr<InferenceReply>)>;
  InferenceQueue(const Runtime::Options& options, const Parts& parts, RuntimeObserver observer);

  uint64_t Submit(InferenceCall in, Done done);
  const char* RunSlice() override;

 private:
  struct EncoderCall;
  using EncoderCallPtr = std::shared_ptr<EncoderCall>;
  using Pins = std::unordered_map<AdapterId, Residency::Device>;
  struct WorkRow {
    EncoderCallPtr call;
    int32_t index = 0;
    const engine::DeviceAdapter* adapter = nullptr;
  };

  absl::Status Check(const Call& call) const override;
  absl::Status CheckAdapter(const Call& call) const override;
  void Tokenize(const CallPtr& call) override;
  // One row for each text; nothing once the call is gone.
  std::optional<EncodedRows> EncodeTexts(const EncoderCall& call, int64_t max_tokens);
  void Forget(const Call& call) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasReady(absl::Time now) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t WaitingRows() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return batcher_.rows(); }
  int64_t WaitingTokens() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return batcher_.tokens(); }
  void Respond(Call& call, const absl::Status& status) override;

  std::vector<WorkRow> TakeBatch(Pins& pins);
  void Compute(const std::vector<WorkRow>& rows);
  void Deliver(const std::vector<WorkRow>& rows, absl::StatusOr<std::vector<std::vector<float>>> values,
               absl::Duration took);

  const RuntimeObserver observer_;
  Batcher batcher_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<uint64_t, EncoderCallPtr> encoded_ ABSL_GUARDED_BY(mutex_);  // calls that are in the batcher
};

}  // namespace tenon::runtime
