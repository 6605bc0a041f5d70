// What an adapter is before its first step. Engine-internal, torch inside.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/train/trainer.h"
#include "worker/engine/train/training_site.h"

namespace tenon::engine {

// New weights by `options.method`, of `head` none, and for a base that classifies a head for config's labels as
// transformers makes a new one. Drawn on the CPU from the job's own stream, so that every device starts from the same.
//
// LoRA: pairs by MatchLora, A as torch's kaiming_uniform_(sqrt(5)), B zero, and the base's own weights of
// `modules_to_save`. OPTION_INVALID when no layer matches; UNSUPPORTED names a module that cannot be trained whole.
// Prompt: as PEFT begins one: numbers of deviation 1, or embeddings of words drawn from the vocabulary, or of
// `init_tokens` (not empty for PromptInit::kText), cut or repeated to the prompt's length.
// Bottleneck: as AdapterHub begins one: weights of deviation 0.02 and no biases; a parallel block's down as LoRA's A
// and its up zero.
absl::StatusOr<AdapterTensors> NewAdapter(const TrainingSite& site, const TrainOptions& options,
                                          const formats::TenonConfig& config, absl::Span<const int32_t> init_tokens);

// A head alone: [labels, features].
AdapterTensors NewHead(int64_t features, double initializer_range, uint64_t seed, const at::Device& device,
                       const formats::TenonConfig& config);

}  // namespace tenon::engine
