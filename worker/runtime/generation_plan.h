// What is asked of generation, made fit for one base's decoder: by calls and by evaluations alike.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/base.h"
#include "worker/engine/generate/generation_batch.h"

namespace tenon::runtime {

struct WantedGeneration {
  engine::GenerationOptions options;   // as asked for
  engine::GenerationOptions defaults;  // behind them, and before the base's own
  std::vector<std::string> bad_words;  // texts
  int64_t max_lines = 64;
  bool stream = false;
};

// FIELD_INVALID and UNSUPPORTED name the option at fault; BASE_INVALID for a base that does not say what a reply begins
// with. The base generates.
absl::StatusOr<engine::GenerationPlan> PlanGeneration(const engine::Base& base, const WantedGeneration& wanted);

// One source's request: its adapter, and the seed of its plan, are the caller's to add.
engine::GenerationRequest MakeGenerationRequest(const std::shared_ptr<const engine::Base>& base, uint64_t id,
                                                const std::vector<int32_t>& source, const engine::GenerationPlan& plan);

}  // namespace tenon::runtime
