// A text's summary by its own sentences: what is embedded, and what the embeddings choose. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/text/sentences.h"
#include "worker/runtime/runtime.h"
#include "worker/runtime/summary.h"

namespace tenon::runtime {

class ExtractiveSummary {
 public:
  static constexpr size_t kMaxSentences = 4096;  // of a text; the rest is not read, and the summary says so

  // TEXT_EMPTY when the text has no sentence.
  static absl::StatusOr<ExtractiveSummary> Make(const std::string& text, const ExtractiveChoice& choice,
                                                const engine::SentenceSplitter& splitter);

  // What is to be embedded; nothing where the place in the text alone decides.
  std::vector<std::string> Inputs() const;
  // `rows` of the inputs, in order. A sentence longer than the encoder reads is cut for its embedding alone.
  absl::StatusOr<SummaryRow> Choose(absl::Span<const InferenceRow> rows) const;

 private:
  ExtractiveSummary() = default;

  std::vector<std::string> sentences_;
  ExtractiveChoice choice_;
  bool truncated_ = false;
};

}  // namespace tenon::runtime
