// A bottleneck adapter's files. Engine-internal, torch inside.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/adapter/read.h"
#include "worker/engine/adapter/tensors.h"

namespace tenon::engine {

// Whether the folder holds an AdapterHub adapter and not one of PEFT's, whose config has the same name.
bool IsAdapterHub(const std::filesystem::path& folder);

// adapter_config.json, adapter.safetensors and, where there is a head, head_config.json and model_head.safetensors.
// `labels` are the head's own. A T5's head is an output layer: the base's own, which the library saves beside every
// adapter and is not kept, or another, which is the module `lm_head`. All of the adapter but its TenonConfig. Errors as
// HostAdapter::Load; UNSUPPORTED names pytorch_adapter.bin: pickles are never read.
absl::StatusOr<AdapterTensors> ReadBottleneck(const std::filesystem::path& folder, AdapterSite& site,
                                              std::vector<std::string>* labels);

}  // namespace tenon::engine
