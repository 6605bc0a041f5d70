// Strict JSON for files from outside: no duplicate keys, a limit on depth, an error instead of an exception.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace tenon::formats {

// The document, or an error that says what is wrong and where; it carries no reason, callers add theirs.
absl::StatusOr<nlohmann::json> ParseJson(const std::string& text);

}  // namespace tenon::formats
