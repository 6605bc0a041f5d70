// An inference request as the server sees it, and whoever answers it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tenon/internal/v1/worker_link_service.pb.h"

namespace tenon::server {

// Texts for one model, resolved to digests.
struct InferenceCall {
  std::string tenant;
  std::string base_digest;
  // Empty digest: the base alone.
  internal::v1::AdapterRef adapter;
  internal::v1::InferenceKind kind = internal::v1::INFERENCE_KIND_EMBED;
  std::vector<std::string> texts;
  // For CLASSIFY. None, or the second text of each pair: an empty one leaves its text alone. For ANSWER the contexts of
  // the questions in `texts`.
  std::vector<std::string> text_pairs;
  absl::Time deadline = absl::InfiniteFuture();

  // For EMBED.
  v1::Pooling pooling = v1::POOLING_UNSPECIFIED;
  std::optional<bool> normalize;

  // For GENERATE and SUMMARIZE.
  v1::GenerationConfig generation;
  int32_t max_input_tokens = 0;  // 0: the model's own limit
  // For SUMMARIZE.
  v1::ExtractiveOptions extractive;
  bool combine_chunks = false;
  std::optional<internal::v1::TextFrame> frame;  // around each text, instead of the base's own prefix
  // For GENERATE of one text: what is written is shown while it is written. On the event loop, must be quick; never
  // after `done` or Cancel. Empty: not streamed.
  std::function<void(std::string text)> on_text;
  // For TAG: none, or the places of each text's words.
  std::vector<internal::v1::WordPlaces> words;
  // For ANSWER.
  v1::AnswerOptions answers;
};

// Queues calls fairly and sends them to workers against their credits. Thread-safe.
class InferenceRouter {
 public:
  using Done = std::function<void(absl::StatusOr<internal::v1::InferenceResult>)>;
  virtual ~InferenceRouter() = default;
  // `done` is called exactly once, on the event loop, unless Cancel came first. QUEUE_FULL, NO_WORKER, WORKER_LOST,
  // DEADLINE_EXCEEDED. A call whose worker is lost goes to another once, unless a part of its text was shown already.
  virtual uint64_t Submit(InferenceCall call, Done done) = 0;
  // Drops the call from the queue, or stops it on its worker within a slice. `done` is not called afterwards.
  virtual void Cancel(uint64_t call) = 0;
  // Calls the function once when nobody waits any more, from any thread; at once when that has happened.
  using WhenCancelled = std::function<void(std::function<void()>)>;
  // Submits and waits; CANCELLED as soon as nobody waits any more (`when_cancelled` may be empty). Never from the loop
  // or a gRPC thread. The router must outlive who may cancel.
  absl::StatusOr<internal::v1::InferenceResult> SubmitAndWait(InferenceCall call, const WhenCancelled& when_cancelled);
};

}  // namespace tenon::server
