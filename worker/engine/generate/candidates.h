// The best continuations over some lines' scores. Engine-internal.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/generate/beam_search.h"

namespace tenon::engine {

// The `width` best of totals[line] + log_probs[line][token], best first; of equals the first line's, then the lowest
// token. What is impossible (-inf) is left out. `log_probs` is [lines, vocab] fp32 with contiguous rows.
std::vector<BeamCandidate> BestCandidates(const at::Tensor& log_probs, absl::Span<const float> totals, int64_t width);

// The same by the device's own top-k, for tensors that are not in host memory; which of equals it takes is the
// device's.
std::vector<BeamCandidate> BestCandidatesByTopK(const at::Tensor& log_probs, absl::Span<const float> totals,
                                                int64_t width);

// The likeliest token of each row, the first of equals; -1 where a row has nothing but -inf. Its log_prob is filled in
// for the rows where `with_log_probs` is true. `scores` is [rows, vocab] fp32.
std::vector<Choice> BestTokens(const at::Tensor& scores, absl::Span<const bool> with_log_probs);

}  // namespace tenon::engine
