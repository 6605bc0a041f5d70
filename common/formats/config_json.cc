#include "common/formats/config_json.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/formats/files.h"
#include "common/formats/json.h"
#include "common/formats/status.h"

namespace tenon::formats {

absl::StatusOr<nlohmann::json> ReadConfigJson(const std::filesystem::path& folder) {
  constexpr int64_t kMaxConfigBytes = 16 << 20;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(folder / kConfigFile, kMaxConfigBytes, Reason::kBaseInvalid));
  auto json = ParseJson(text);
  if (json.ok() && json->is_object()) return json;
  const std::string what = json.ok() ? "must be an object" : std::string(json.status().message());
  return TenonError(Reason::kBaseInvalid, absl::StrCat(kConfigFile, ": ", what), kConfigFile);
}

void RefuseUnsupported(JsonFields& fields, const std::string& type, std::initializer_list<const char*> keys) {
  const std::string found = fields.String("model_type", type);
  if (found != type) {
    fields.Unsupported("model_type", absl::StrCat("\"", found, "\" is not supported; ", type, " is"));
  }
  for (const char* key : keys) {
    const nlohmann::json* value = fields.Get(key);
    if (value != nullptr && !IsFalsy(*value)) {
      fields.Unsupported(key, absl::StrCat("is ", Shown(*value), ", which is not supported"));
    }
  }
}

}  // namespace tenon::formats
