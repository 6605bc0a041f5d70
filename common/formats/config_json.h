// A base's config.json as JSON. Internal to common/formats.
#pragma once

#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "common/formats/json_fields.h"

namespace tenon::formats {

inline constexpr char kConfigFile[] = "config.json";
// Of a config.json without a model_type, as transformers once wrote them.
inline constexpr char kDefaultModelType[] = "bert";

// The folder's config.json, which must hold an object. BASE_INVALID.
absl::StatusOr<nlohmann::json> ReadConfigJson(const std::filesystem::path& folder);

// UNSUPPORTED for the first of `keys` that is set to more than what Python calls false: what transformers allows and
// the engine does not run.
void RefuseUnsupported(JsonFields& fields, std::initializer_list<const char*> keys);

// What a summary's input begins with: task_specific_params.summarization.prefix where that is a text, else `otherwise`.
std::string SummaryPrefix(JsonFields& fields, const std::string& otherwise);

}  // namespace tenon::formats
