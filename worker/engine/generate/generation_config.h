// A base's own defaults for generation: generation_config.json, and where there is none the same keys of config.json,
// as older bases have them.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "worker/engine/generate/options.h"

namespace tenon::engine {

// BASE_INVALID names the key that is wrong, UNSUPPORTED a key that would change what is generated and that this engine
// does not have. `file` is for the messages.
absl::StatusOr<GenerationOptions> ParseGenerationConfig(const std::string& json, const std::string& file);

// Of a Hugging Face folder.
absl::StatusOr<GenerationOptions> ReadGenerationConfig(const std::filesystem::path& folder);

// A base's defaults for one task: config.json's task_specific_params, such as `summarization`; nothing set where it
// says nothing of the task. Errors as above.
absl::StatusOr<GenerationOptions> ParseTaskConfig(const std::string& config_json, const std::string& task);
absl::StatusOr<GenerationOptions> ReadTaskConfig(const std::filesystem::path& folder, const std::string& task);

}  // namespace tenon::engine
