// From logits to next tokens: one step of several requests' searches, each kind of search in as few tensor operations
// as it can be. Engine-internal.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/generate/beam_search.h"
#include "worker/engine/generate/line_search.h"
#include "worker/engine/generate/plan.h"
#include "worker/engine/generate/target_search.h"

namespace tenon::engine {

// A request's search and its rows of the logits: first_row .. first_row + search->lines().
struct SearchRows {
  const GenerationPlan* plan = nullptr;
  BeamSearch* beams = nullptr;    // kBeam
  LineSearch* lines = nullptr;    // kGreedy, kSample
  TargetSearch* given = nullptr;  // kGiven
  int64_t first_row = 0;

  const Search& search() const {
    if (given != nullptr) return *given;
    return beams != nullptr ? static_cast<const Search&>(*beams) : *lines;
  }
};

// Advances every search by one token. `logits` is [rows, vocab] fp32 and is overwritten. A row's tokens depend on its
// logits and its own search alone, to the last bit.
void ChooseTokens(at::Tensor logits, const std::vector<SearchRows>& searches);

}  // namespace tenon::engine
