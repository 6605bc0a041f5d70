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
  return ParseJsonObject(text, kConfigFile, Reason::kBaseInvalid);
}

void RefuseUnsupported(JsonFields& fields, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const nlohmann::json* value = fields.Get(key);
    if (value != nullptr && !IsFalsy(*value)) {
      fields.Unsupported(key, absl::StrCat("is ", Shown(*value), ", which is not supported"));
    }
  }
}

std::string SummaryPrefix(JsonFields& fields, const std::string& otherwise) {
  const nlohmann::json* tasks = fields.Get("task_specific_params");
  if (tasks == nullptr || !tasks->is_object()) return otherwise;
  const auto summarization = tasks->find("summarization");
  if (summarization == tasks->end() || !summarization->is_object()) return otherwise;
  const auto prefix = summarization->find("prefix");
  return prefix != summarization->end() && prefix->is_string() ? prefix->get<std::string>() : otherwise;
}

}  // namespace tenon::formats
