// One base's decoder on the device: who joins it, steps, and its end.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/base.h"
#include "worker/engine/generate/generation_batch.h"

namespace tenon::runtime {

// Of the device thread. Holds a decoder only while something runs in it.
class DecoderLane {
 public:
  DecoderLane(std::shared_ptr<const engine::Base> base, const engine::GenerationBatch::Options& options)
      : base_(std::move(base)), options_(options) {}

  // Makes the decoder if there is none; before Fits and Join.
  absl::Status Open();
  // Whether a request can join now, with `joining`. An error: it would not fit an empty decoder.
  absl::StatusOr<bool> Fits(absl::Span<const engine::GenerationRequest> joining, const engine::GenerationPlan& plan,
                            int64_t source_tokens) const;

  struct Refused {
    uint64_t id = 0;
    absl::Status status;  // OK: there is no memory for it beside those that run; it is to wait
  };
  // Those that did not join, in order; one request's error is not its neighbours'.
  std::vector<Refused> Join(std::vector<engine::GenerationRequest> requests);

  // Frees lines. An error, here and below: what ran is lost.
  absl::Status Cancel(absl::Span<const uint64_t> ids);
  absl::StatusOr<std::vector<engine::GenerationEvent>> Step();
  // Lets go of the decoder, and its memory, when nothing runs.
  void Rest();

  bool open() const { return batch_ != nullptr; }
  bool writing() const { return batch_ != nullptr && batch_->requests() > 0; }
  int64_t lines() const { return batch_ == nullptr ? 0 : batch_->lines(); }

 private:
  const std::shared_ptr<const engine::Base> base_;
  const engine::GenerationBatch::Options options_;
  std::unique_ptr<engine::GenerationBatch> batch_;
  bool crowded_ = false;  // a join found no memory, and nobody has left since
};

}  // namespace tenon::runtime
