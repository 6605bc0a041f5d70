// A generation call inside its queue. Included by the queue's own sources alone.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/runtime/generation_queue.h"

namespace tenon::runtime {

struct GenerationQueue::Writing : Call {
  GenerationCall in;
  GenerationCallbacks callbacks;
  std::vector<engine::Encoding> encodings;
  std::vector<engine::GenerationPlan> plans;  // of each row; they differ in the seed and, by its prompt, in lengths
  std::vector<GenerationRow> rows;
  size_t remaining = 0;
  absl::Duration compute;
};

}  // namespace tenon::runtime
