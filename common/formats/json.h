// Strict JSON for files from outside: no duplicate keys, a limit on depth, an error instead of an exception.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "common/formats/status.h"

namespace tenon::formats {

// The document, or an error that says what is wrong and where; it carries no reason, callers add theirs.
absl::StatusOr<nlohmann::json> ParseJson(const std::string& text);

// The object that a file's text must hold; the error has this reason and names the file.
absl::StatusOr<nlohmann::json> ParseJsonObject(const std::string& text, const std::string& file, Reason reason);

}  // namespace tenon::formats
