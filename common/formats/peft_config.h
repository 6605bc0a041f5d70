// What adapter_config.json says of any of PEFT's methods, and the parts that those methods' readers share.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/adapter_config.h"
#include "common/formats/prompt_config.h"

namespace tenon::formats {

class JsonFields;

using PeftConfig = std::variant<LoraConfig, PromptConfig>;

// Reads `adapter_config.json` text by its `peft_type`. ADAPTER_INVALID or UNSUPPORTED names the key.
absl::StatusOr<PeftConfig> ParsePeftConfig(const std::string& json);

// The task type, and TenonConfig's name of the method.
const std::string& PeftTaskType(const PeftConfig& config);
const char* PeftMethod(const PeftConfig& config);
// What stands before the names of a classification head. PEFT wraps the model of a LoRA once more than that of a
// prompt.
const char* PeftHeadRoot(const PeftConfig& config);

// For the readers of single methods: the file as an object; ADAPTER_INVALID otherwise.
absl::StatusOr<nlohmann::json> ParsePeftObject(const std::string& text);
// Refuses every key that is not in `known` and holds something.
void RefuseOtherKeys(const nlohmann::json& object, const std::set<std::string>& known, JsonFields& fields);
// `task_type` and `modules_to_save`; each name once, with those that PEFT adds to every SEQ_CLS adapter.
void ReadPeftTask(JsonFields& fields, std::string* task_type, std::vector<std::string>* modules_to_save);
// PEFT's file: sorted keys, two spaces.
std::string PeftText(const nlohmann::json& object);
nlohmann::json ListOrNull(const std::vector<std::string>& names);
nlohmann::json StringOrNull(const std::string& text);

}  // namespace tenon::formats
