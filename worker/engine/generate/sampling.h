// Drawing tokens from lines' scores: temperature, top-k (Fan et al., 2018), top-p (Holtzman et al., 2020) and locally
// typical sampling (Meister et al., 2023), in that order and as transformers defines each. Engine-internal.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/generate/plan.h"
#include "worker/engine/generate/sequence.h"

namespace tenon::engine {

// What one row is drawn with. `uniforms` holds one number of [0, 1) a draw; several draws are independent.
struct SampleRow {
  const GenerationPlan* plan = nullptr;
  std::vector<double> uniforms;
};

// The draws of each row; token -1 where every token is impossible. `scores` is [rows, vocab] fp32 and is overwritten. A
// row's draws depend on its scores, plan and uniforms alone, to the last bit.
std::vector<std::vector<Choice>> Sample(at::Tensor scores, absl::Span<const SampleRow> rows);

}  // namespace tenon::engine
