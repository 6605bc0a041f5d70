// What is asked of generation, made fit for one base's decoder: by calls and by evaluations alike.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/base.h"
#include "worker/engine/generate/generation_batch.h"

namespace tenon::runtime {

struct WantedGeneration {
  engine::GenerationOptions options;   // as asked for
  engine::GenerationOptions defaults;  // behind them, and before the base's own
  std::vector<std::string> bad_words;  // texts
  int64_t max_lines = 64;
  bool stream = false;
  // Of a base with a decoder alone: the prompt's tokens, and those that its adapter puts before them, which take
  // positions and are no part of the sequence.
  int64_t prompt_tokens = 1, virtual_tokens = 0;
};

// FIELD_INVALID and UNSUPPORTED name the option at fault; BASE_INVALID for an encoder-decoder that does not say what a
// reply begins with. The base generates.
absl::StatusOr<engine::GenerationPlan> PlanGeneration(const engine::Base& base, const WantedGeneration& wanted);

// What of a text's tokens a decoder reads when it joins (engine::DecoderSource).
absl::Span<const int32_t> SourceOf(const engine::Base& base, const std::vector<int32_t>& text);

// One text's request: its adapter, and the seed of its plan, are the caller's to add.
engine::GenerationRequest MakeGenerationRequest(const std::shared_ptr<const engine::Base>& base, uint64_t id,
                                                const std::vector<int32_t>& text, const engine::GenerationPlan& plan);

}  // namespace tenon::runtime
