#include "common/formats/peft_config.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/formats/encoder_family.h"
#include "common/formats/json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr char kFile[] = "adapter_config.json";

}  // namespace

absl::StatusOr<PeftConfig> ParsePeftConfig(const std::string& text) {
  ASSIGN_OR_RETURN(const nlohmann::json object, ParsePeftObject(text));
  JsonFields fields(object, kFile, Reason::kAdapterInvalid);
  const bool prompt = fields.String("peft_type", "") == "PROMPT_TUNING";
  RETURN_IF_ERROR(fields.status());
  if (prompt) {
    ASSIGN_OR_RETURN(PromptConfig config, ParsePromptConfig(text));
    return PeftConfig(std::move(config));
  }
  ASSIGN_OR_RETURN(LoraConfig config, ParseLoraConfig(text));
  return PeftConfig(std::move(config));
}

const std::string& PeftTaskType(const PeftConfig& config) {
  return std::visit([](const auto& one) -> const std::string& { return one.task_type; }, config);
}

const char* PeftMethod(const PeftConfig& config) {
  return std::holds_alternative<PromptConfig>(config) ? "prompt_tuning" : "lora";
}

const char* PeftHeadRoot(const PeftConfig& config) {
  return std::holds_alternative<PromptConfig>(config) ? "base_model." : "base_model.model.";
}

absl::StatusOr<nlohmann::json> ParsePeftObject(const std::string& text) {
  return ParseJsonObject(text, kFile, Reason::kAdapterInvalid);
}

void RefuseOtherKeys(const nlohmann::json& object, const std::set<std::string>& known, JsonFields& fields) {
  for (const auto& [key, value] : object.items()) {
    if (!known.contains(key) && !IsFalsy(value)) {
      fields.Unsupported(key, absl::StrCat("is ", Shown(value), ", which is not supported"));
    }
  }
}

void ReadPeftTask(JsonFields& fields, std::string* task_type, std::vector<std::string>* modules_to_save) {
  *task_type = fields.String("task_type", "");
  if (!task_type->empty() && !IsPeftHeadTask(*task_type) && *task_type != "FEATURE_EXTRACTION" &&
      *task_type != "SEQ_2_SEQ_LM" && *task_type != "CAUSAL_LM") {
    fields.Unsupported("task_type",
                       absl::StrCat("\"", *task_type,
                                    "\" is not supported; SEQ_CLS, TOKEN_CLS, QUESTION_ANS, FEATURE_EXTRACTION, "
                                    "SEQ_2_SEQ_LM and CAUSAL_LM are"));
  }
  std::vector<std::string> names = fields.Strings("modules_to_save");
  // PEFT adds these whenever it opens an adapter with a head, also to a list that has them: the list is a set.
  if (IsPeftHeadTask(*task_type)) {
    for (std::string& name : PeftHeadNames(HeadOfPeftTask(*task_type))) names.push_back(std::move(name));
  }
  std::set<std::string> seen;
  modules_to_save->clear();
  for (const std::string& name : names) {
    if (seen.insert(name).second) modules_to_save->push_back(name);
  }
}

std::string PeftText(const nlohmann::json& object) {
  return object.dump(2, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

nlohmann::json ListOrNull(const std::vector<std::string>& names) {
  return names.empty() ? nlohmann::json(nullptr) : nlohmann::json(names);
}

nlohmann::json StringOrNull(const std::string& text) {
  return text.empty() ? nlohmann::json(nullptr) : nlohmann::json(text);
}

}  // namespace tenon::formats
