// A soft prompt's file. Engine-internal, torch inside.
#pragma once

#include "absl/status/statusor.h"
#include "worker/engine/adapter/adapter_file.h"
#include "worker/engine/adapter/read.h"

namespace tenon::engine {

// What PEFT wrote for `config`: `prompt_embeddings` without any prefix, for SEQ_2_SEQ_LM often with as many rows again,
// and for SEQ_CLS the classifier, whose name has one wrapper less before it than a LoRA's. All of `adapter` but its
// TenonConfig. Errors as HostAdapter::Load.
absl::StatusOr<AdapterTensors> ReadPrompt(AdapterFile& file, const formats::PromptConfig& config,
                                          const AdapterSite& site);

}  // namespace tenon::engine
