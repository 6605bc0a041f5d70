// Continuous batching: requests join between steps, each step adds a token to every line of every request, and what is
// finished leaves. Free of torch.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/generate/line_search.h"
#include "worker/engine/generate/plan.h"
#include "worker/engine/generate/text_stream.h"

namespace tenon::engine {

class Base;
class Decoder;  // worker/engine/generate/decoder.h, torch inside

struct GenerationRequest {
  uint64_t id = 0;                               // the caller's; distinct among those in a batch
  std::vector<int32_t> source;                   // what DecoderSource::ids is to be
  std::vector<int32_t> prefix;                   // what every sequence begins with: plan.prefix_tokens tokens
  std::shared_ptr<const DeviceAdapter> adapter;  // held until the request leaves; null: the base alone
  GenerationPlan plan;
  std::vector<int32_t> target;  // what is read, with a plan of ReadingPlan; else empty
  Detokenizer detokenize;       // null: no texts; needed where there are stop strings
  bool stream = false;          // greedy search and sampling: deltas have text, not tokens alone
};

// What a step did for one request.
struct GenerationEvent {
  uint64_t id = 0;
  std::vector<SequenceDelta> deltas;         // greedy search and sampling: what the step added; empty for beams
  bool finished = false;                     // the request has left the batch
  std::vector<GeneratedSequence> sequences;  // once finished: num_return_sequences, best first for beams
  bool finite = true;                        // else it is finished without sequences: the model's numbers overflowed
};

// Tokens that a request's decoder reads: the source's, and its adapter's virtual ones.
inline int64_t SourceTokens(const GenerationRequest& request) {
  const int64_t virtual_tokens = request.adapter == nullptr ? 0 : request.adapter->host().virtual_tokens();
  return static_cast<int64_t>(request.source.size()) + virtual_tokens;
}

// Not thread-safe. A request's tokens do not depend on what else is in the batch, as far as the decoder's logits do
// not. After an error of Step() or Cancel() the lines' state is unknown: the batch must be thrown away.
class GenerationBatch {
 public:
  struct Options {
    int64_t max_lines = 64;
    int64_t max_tokens = 65536;  // sum over lines of source and longest sequence: what the decoder may have to keep
  };

  GenerationBatch(std::unique_ptr<Decoder> decoder, const Options& options);
  // An empty batch over a decoder of the base's own.
  static absl::StatusOr<std::unique_ptr<GenerationBatch>> Open(const Base& base, const Options& options);
  ~GenerationBatch();

  // Whether a request fits beside those that are there, and those that are to join with it, at its longest; here and
  // below `source_tokens` are SourceTokens().
  bool CanJoin(const GenerationPlan& plan, int64_t source_tokens, absl::Span<const GenerationRequest> with = {}) const;
  // FIELD_INVALID when it would not fit an empty batch.
  absl::Status CheckFits(const GenerationPlan& plan, int64_t source_tokens) const;

  // Appends all, or none on an error; their sources are read together. OUT_OF_MEMORY when they do not fit.
  absl::Status Join(std::vector<GenerationRequest> requests);

  // Frees the request's lines at once; it gets no more events. Nothing happens when it is not there.
  absl::Status Cancel(uint64_t id);

  // One token for every line. Events are in the order in which the requests joined.
  absl::StatusOr<std::vector<GenerationEvent>> Step();

  size_t requests() const { return running_.size(); }
  int64_t lines() const;  // that the decoder holds now
  int64_t reserved_lines() const { return reserved_lines_; }
  int64_t reserved_tokens() const { return reserved_tokens_; }

 private:
  struct Running;

  absl::Status CheckRequest(const GenerationRequest& request) const;
  // What the step did; takes the finished out, and those that are `lost`, in the order of running_.
  std::vector<GenerationEvent> Collect(const std::vector<bool>& lost);
  void Release(const Running& running);

  const std::unique_ptr<Decoder> decoder_;
  const Options options_;
  std::vector<std::unique_ptr<Running>> running_;
  int64_t reserved_lines_ = 0, reserved_tokens_ = 0;
};

}  // namespace tenon::engine
