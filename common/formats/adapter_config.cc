#include "common/formats/adapter_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/formats/json_fields.h"
#include "common/formats/peft_config.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr char kFile[] = "adapter_config.json";
constexpr int64_t kMaxRank = 4096;

// Keys that we read, and keys that say nothing about the result. Every other key must be falsy.
const std::set<std::string>& KnownKeys() {
  static const auto* keys =
      new std::set<std::string>{"peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules",
                                "exclude_modules", "rank_pattern", "alpha_pattern", "use_rslora", "fan_in_fan_out",
                                "modules_to_save", "base_model_name_or_path", "bias", "init_lora_weights",
                                // Provenance, or read only together with a key that we refuse.
                                "auto_mapping", "inference_mode", "peft_version", "revision", "megatron_core",
                                "qalora_group_size", "runtime_config"};
  return *keys;
}

// Ways to begin that leave the base as it is; the others change the base's own weights.
bool KeepsBase(const nlohmann::json& init) {
  if (init.is_boolean()) return true;
  return init == "gaussian" || init == "eva" || init == "orthogonal";
}

void ReadTargets(JsonFields& fields, LoraConfig& config) {
  const nlohmann::json* targets = fields.Get("target_modules");
  if (targets == nullptr) {
    config.default_targets = true;
    // PEFT's own choices for BERT and T5; of other models the base's family knows.
    const bool writes = fields.String("task_type", "") == "SEQ_2_SEQ_LM";
    config.target_modules = writes ? std::vector<std::string>{"q", "v"} : std::vector<std::string>{"query", "value"};
  } else if (targets->is_string()) {
    const std::string text = targets->get<std::string>();
    if (text.empty()) fields.Fail("target_modules", "is empty");
    config.all_linear = absl::AsciiStrToLower(text) == "all-linear";
    if (!config.all_linear) config.target_regex = text;
  } else {
    config.target_modules = fields.Strings("target_modules");
    if (config.target_modules.empty()) fields.Fail("target_modules", "is empty");
  }
  const nlohmann::json* excluded = fields.Get("exclude_modules");
  if (excluded != nullptr && excluded->is_string()) {
    config.exclude_regex = excluded->get<std::string>();
  } else {
    config.exclude_modules = fields.Strings("exclude_modules");
  }
}

void ReadPatterns(JsonFields& fields, LoraConfig& config) {
  for (const char* key : {"rank_pattern", "alpha_pattern"}) {
    const nlohmann::json* pattern = fields.Get(key);
    if (pattern == nullptr) continue;
    if (!pattern->is_object()) return fields.Fail(key, "must be an object");
    JsonFields values(*pattern, absl::StrCat(kFile, ": ", key), Reason::kAdapterInvalid);
    for (const auto& [module, value] : pattern->items()) {
      if (value.is_null()) return fields.Fail(key, absl::StrCat("has null for \"", module, "\""));
      if (std::string(key) == "rank_pattern") {
        config.rank_pattern[module] = values.Int(module, 0, 1, kMaxRank);
      } else {
        config.alpha_pattern[module] = values.Real(module, 0, -1e9, 1e9);
      }
    }
    if (!values.status().ok())
      return fields.Fail(key, absl::StrCat("is wrong: ", std::string(values.status().message())));
  }
}

void RefuseUnsupported(const nlohmann::json& json, JsonFields& fields) {
  if (fields.Get("peft_type") == nullptr) fields.Fail("peft_type", "is missing; only PEFT's LoRA files are read");
  const std::string type = fields.String("peft_type", "");
  if (type != "LORA") {
    fields.Unsupported("peft_type", absl::StrCat("\"", type, "\" is not supported; LORA and PROMPT_TUNING are"));
  }
  const std::string bias = fields.String("bias", "none");
  if (bias != "none") fields.Unsupported("bias", absl::StrCat("\"", bias, "\" is not supported; none is"));
  const nlohmann::json* init = fields.Get("init_lora_weights");
  if (init != nullptr && !KeepsBase(*init)) {
    fields.Unsupported("init_lora_weights",
                       absl::StrCat(Shown(*init), " is not supported: it changes the base's weights"));
  }
  RefuseOtherKeys(json, KnownKeys(), fields);
}

// PEFT writes whole alphas as integers.
nlohmann::json Number(double value) {
  if (value == static_cast<double>(static_cast<int64_t>(value))) return static_cast<int64_t>(value);
  return value;
}

}  // namespace

absl::StatusOr<LoraConfig> ParseLoraConfig(const std::string& text) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ParsePeftObject(text));
  JsonFields fields(json, kFile, Reason::kAdapterInvalid);
  RefuseUnsupported(json, fields);
  LoraConfig config;
  config.r = fields.Int("r", 8, 1, kMaxRank);
  config.alpha = fields.Real("lora_alpha", 8, -1e9, 1e9);
  config.dropout = fields.Real("lora_dropout", 0, 0, 1);
  config.use_rslora = fields.Bool("use_rslora", false);
  config.fan_in_fan_out = fields.Bool("fan_in_fan_out", false);
  config.base_model_name_or_path = fields.String("base_model_name_or_path", "");
  ReadTargets(fields, config);
  ReadPatterns(fields, config);
  ReadPeftTask(fields, &config.task_type, &config.modules_to_save);
  RETURN_IF_ERROR(fields.status());
  const absl::Status patterns = CheckLoraPatterns(config);
  if (!patterns.ok()) {
    return TenonError(Reason::kAdapterInvalid, absl::StrCat(kFile, ": ", std::string(patterns.message())),
                      GetField(patterns));
  }
  return config;
}

std::string WriteLoraConfig(const LoraConfig& config) {
  nlohmann::json json = {
      {"peft_type", "LORA"},
      {"task_type", StringOrNull(config.task_type)},
      {"base_model_name_or_path", StringOrNull(config.base_model_name_or_path)},
      {"r", config.r},
      {"lora_alpha", Number(config.alpha)},
      {"lora_dropout", config.dropout},
      {"use_rslora", config.use_rslora},
      {"modules_to_save", ListOrNull(config.modules_to_save)},
      {"rank_pattern", config.rank_pattern},
      {"bias", "none"},
      {"fan_in_fan_out", config.fan_in_fan_out},
      {"inference_mode", true},
      {"init_lora_weights", true},
  };
  json["alpha_pattern"] = nlohmann::json::object();
  for (const auto& [module, alpha] : config.alpha_pattern) json["alpha_pattern"][module] = Number(alpha);
  json["exclude_modules"] =
      config.exclude_regex.empty() ? ListOrNull(config.exclude_modules) : nlohmann::json(config.exclude_regex);
  if (config.all_linear) {
    json["target_modules"] = "all-linear";
  } else if (!config.target_regex.empty()) {
    json["target_modules"] = config.target_regex;
  } else {
    std::vector<std::string> targets = config.target_modules;
    std::sort(targets.begin(), targets.end());
    targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
    json["target_modules"] = targets;
  }
  return PeftText(json);
}

}  // namespace tenon::formats
