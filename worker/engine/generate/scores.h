// Changes that a line's history makes to its scores, for all lines in a few tensor operations. Engine-internal.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "worker/engine/generate/constraints.h"

namespace tenon::engine {

// The score of a token that cannot be chosen.
inline constexpr float kImpossible = -std::numeric_limits<float>::infinity();

// Constraints gathered row by row, then applied at once: what they touch is a few entries of each row, never the whole
// vocabulary.
class ScoreEdits {
 public:
  explicit ScoreEdits(int64_t vocab_size) : vocab_size_(vocab_size) {}
  void Add(int64_t row, const Constraints& constraints, double repetition_penalty);
  // In place. `scores` is [rows, vocab] fp32, contiguous.
  void Apply(at::Tensor& scores) const;

 private:
  // Ids beyond the vocabulary, such as a start token that the head does not know, are left out.
  void Put(int64_t row, const std::vector<int32_t>& ids, std::vector<int64_t>& places) const;

  const int64_t vocab_size_;
  std::vector<int64_t> repeated_, banned_, forced_rows_, forced_,
      suppressed_;                // places in the flat tensor, but for rows
  std::vector<float> penalties_;  // of repeated_
};

}  // namespace tenon::engine
