// The configuration of a base, whichever family it is of.
#pragma once

#include <filesystem>
#include <variant>

#include "absl/status/statusor.h"
#include "common/formats/bart_config.h"
#include "common/formats/causal_config.h"
#include "common/formats/model_config.h"
#include "common/formats/t5_config.h"

namespace tenon::formats {

using BaseConfig = std::variant<EncoderConfig, T5Config, BartConfig, CausalConfig>;

// Reads config.json, which says of which family the base is (model_type; `bert` where it does not), and what stands
// beside it. BASE_INVALID names the file and key at fault, UNSUPPORTED the feature or family.
absl::StatusOr<BaseConfig> ReadBaseConfig(const std::filesystem::path& folder);

}  // namespace tenon::formats
