// An adapter's files as others read them. Engine-internal, torch inside.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "worker/engine/adapter/shapes.h"
#include "worker/engine/adapter/tensors.h"

namespace tenon::engine {

// File names of the two kinds of adapter.
inline constexpr char kPeftConfigFile[] = "adapter_config.json";
inline constexpr char kPeftWeightsFile[] = "adapter_model.safetensors";
inline constexpr char kTenonFile[] = "tenon.json";
inline constexpr char kHeadWeightsFile[] = "head.safetensors";

// PEFT's roots of a LoRA's names and of the head beside a soft prompt, which itself has none.
inline constexpr char kPeftRoot[] = "base_model.model.";
inline constexpr char kPromptHeadRoot[] = "base_model.";
inline constexpr char kPromptTensor[] = "prompt_embeddings";

// AdapterHub's files; the pickles of the same content are refused.
inline constexpr char kHubWeightsFile[] = "adapter.safetensors";
inline constexpr char kHubHeadFile[] = "model_head.safetensors";
inline constexpr char kHubHeadConfigFile[] = "head_config.json";
inline constexpr char kHubPickle[] = "pytorch_adapter.bin";
inline constexpr char kHubHeadPickle[] = "pytorch_model_head.bin";

// Writes an adapter into an existing folder: for `lora` and `prompt_tuning` adapter_config.json,
// adapter_model.safetensors and tenon.json, which Hugging Face PEFT opens; for `bottleneck` AdapterHub's four files and
// tenon.json; for `head` head.safetensors
// (classifier.weight, classifier.bias) and tenon.json. Tensors are fp32 whatever they were; the same adapter gives the
// same bytes. What HostAdapter::Load reads back is equal.
absl::Status WriteAdapter(const std::filesystem::path& folder, const AdapterTensors& adapter);

}  // namespace tenon::engine
