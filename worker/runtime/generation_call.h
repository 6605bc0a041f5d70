// A generation call inside its queue. Included by the queue's own sources alone.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/runtime/generation_queue.h"

namespace tenon::runtime {

struct GenerationQueue::Writing : Call {
  GenerationCall in;
  GenerationCallbacks callbacks;
  engine::GenerationPlan plan;  // of every row but for its seed
  std::vector<uint64_t> seeds;
  std::vector<engine::Encoding> encodings;
  std::vector<GenerationRow> rows;
  size_t remaining = 0;
  absl::Duration compute;
};

}  // namespace tenon::runtime
