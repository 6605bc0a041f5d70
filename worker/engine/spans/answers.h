// The answer that logits find in a context, as transformers' examples search for it (SQuAD 1 and 2). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/spans/answer_windows.h"

namespace tenon::engine {

struct AnswerOptions {
  int64_t max_answer_tokens = 30;
  int64_t doc_stride = 0;  // as CutContext's
  int64_t top_k = 1;
  // There is no answer where `no_answer_score` is above this; unset: there is one always.
  std::optional<double> no_answer_threshold;
};

struct FoundAnswer {
  TextPlace place;   // of the context
  double score = 0;  // probability among the best 20, and none with a threshold
};

struct FoundAnswers {
  std::vector<FoundAnswer> best;  // best first, at most top_k; empty when no tokens could be one
  // The lowest sum of both logits at a window's first token, less the best answer's sum.
  double no_answer_score = 0;
  bool no_answer = false;
};

// `rows`: of each window the logits [tokens, 2] of its row, of a beginning and an end.
FoundAnswers FindAnswers(const AnswerWindows& windows, absl::Span<const std::vector<float>* const> rows,
                         const AnswerOptions& options);

}  // namespace tenon::engine
