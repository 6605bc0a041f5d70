// Which next tokens a line's history forbids, repeats or forces: the part of transformers' logits processors that looks
// at tokens rather than at scores. Free of torch.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/generate/plan.h"

namespace tenon::engine {

// What happens to one line's scores before a token is chosen. transformers' order: repeated tokens are penalised, then
// others banned, then a token forced, which also lifts what was banned; suppressed tokens come last.
struct Constraints {
  std::vector<int32_t>
      repeated;                 // distinct; their scores are divided by repetition_penalty, or multiplied when negative
  std::vector<int32_t> banned;  // -inf; may hold an id twice
  std::vector<int32_t> forced;  // not empty: all others -inf, these 0
  std::vector<int32_t> suppressed;  // -inf, even of what was forced

  bool empty() const { return repeated.empty() && banned.empty() && forced.empty() && suppressed.empty(); }
};

// `tokens` is the whole sequence, with what the decoder started from. Time is linear in its length.
Constraints ConstraintsOf(const GenerationPlan& plan, absl::Span<const int32_t> tokens);

}  // namespace tenon::engine
