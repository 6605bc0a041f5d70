// A base's config.json as JSON. Internal to common/formats.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"

namespace tenon::formats {

inline constexpr char kConfigFile[] = "config.json";
// Of a config.json without a model_type, as transformers once wrote them.
inline constexpr char kDefaultModelType[] = "bert";

// The folder's config.json, which must hold an object. BASE_INVALID.
absl::StatusOr<nlohmann::json> ReadConfigJson(const std::filesystem::path& folder);

}  // namespace tenon::formats
