#include "common/formats/prompt_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/formats/encoder_family.h"
#include "common/formats/json_fields.h"
#include "common/formats/peft_config.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr char kFile[] = "adapter_config.json";
constexpr int64_t kMaxVirtualTokens = 4096;  // of a file; the base's positions decide further
constexpr int64_t kMaxSize = 1 << 20;
constexpr size_t kMaxTextBytes = 16 << 10;

struct InitName {
  PromptInit init;
  const char* peft;
  const char* ours;
};
constexpr InitName kInits[] = {{PromptInit::kRandom, "RANDOM", "random"},
                               {PromptInit::kVocabulary, "SAMPLE_VOCAB", "vocabulary"},
                               {PromptInit::kText, "TEXT", "text"}};

PromptInit ReadInit(JsonFields& fields) {
  const std::string name = fields.String("prompt_tuning_init", "RANDOM");
  for (const InitName& one : kInits) {
    if (name == one.peft) return one.init;
  }
  fields.Fail("prompt_tuning_init", absl::StrCat("is \"", name, "\"; it must be RANDOM, SAMPLE_VOCAB or TEXT"));
  return PromptInit::kRandom;
}

// PEFT's own number where the file has none.
int64_t ReadSubmodules(JsonFields& fields, const std::string& task_type) {
  constexpr char kKey[] = "num_transformer_submodules";
  const int64_t most = task_type == "SEQ_2_SEQ_LM" ? 2 : 1;
  const int64_t parts = fields.Int(kKey, most, 1, kMaxSize);
  if (parts > most) {
    fields.Unsupported(kKey, absl::StrCat("is ", parts, "; an encoder-decoder has 1 or 2, every other model 1"));
  }
  return parts;
}

bool IsHeadName(const std::string& task_type, const std::string& name) {
  const std::vector<std::string> names = PeftHeadNames(HeadOfPeftTask(task_type));
  return IsPeftHeadTask(task_type) && std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

absl::StatusOr<PromptConfig> ParsePromptConfig(const std::string& text) {
  ASSIGN_OR_RETURN(const nlohmann::json object, ParsePeftObject(text));
  JsonFields fields(object, kFile, Reason::kAdapterInvalid);
  const std::string type = fields.String("peft_type", "");
  if (type != "PROMPT_TUNING") fields.Unsupported("peft_type", absl::StrCat("\"", type, "\" is no PROMPT_TUNING"));
  static const auto* known = new std::set<std::string>{
      "peft_type", "task_type", "num_virtual_tokens", "token_dim", "num_layers", "num_attention_heads",
      "num_transformer_submodules", "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path",
      "modules_to_save", "base_model_name_or_path",
      // Provenance, or how the tokenizer of the first text was made: the weights are there.
      "auto_mapping", "inference_mode", "peft_version", "revision", "tokenizer_kwargs"};
  RefuseOtherKeys(object, *known, fields);
  PromptConfig config;
  if (fields.Get("num_virtual_tokens") == nullptr) fields.Fail("num_virtual_tokens", "is missing");
  config.num_virtual_tokens = fields.Int("num_virtual_tokens", 1, 1, kMaxVirtualTokens);
  config.token_dim = fields.Int("token_dim", 0, 1, kMaxSize);
  config.num_layers = fields.Int("num_layers", 0, 1, kMaxSize);
  config.num_attention_heads = fields.Int("num_attention_heads", 0, 1, kMaxSize);
  config.init = ReadInit(fields);
  config.init_text = fields.String("prompt_tuning_init_text", "");
  config.tokenizer_name_or_path = fields.String("tokenizer_name_or_path", "");
  config.base_model_name_or_path = fields.String("base_model_name_or_path", "");
  std::vector<std::string> saved;
  ReadPeftTask(fields, &config.task_type, &saved);
  config.num_transformer_submodules = ReadSubmodules(fields, config.task_type);
  // Without one PEFT's own model leaves the prompt out.
  if (config.task_type.empty()) fields.Fail("task_type", "is missing; PEFT puts a prompt into no model without one");
  for (const std::string& name : saved) {
    if (!IsHeadName(config.task_type, name))
      fields.Unsupported("modules_to_save", absl::StrCat("has \"", name, "\"; a prompt has a head beside it"));
  }
  RETURN_IF_ERROR(fields.status());
  return config;
}

std::string WritePromptConfig(const PromptConfig& config) {
  // PEFT refuses TEXT without a tokenizer's place, and would read it only to make anew what the weights hold.
  const bool as_random =
      config.init == PromptInit::kText && (config.tokenizer_name_or_path.empty() || config.init_text.empty());
  const PromptInit init = as_random ? PromptInit::kRandom : config.init;
  const auto name =
      std::find_if(std::begin(kInits), std::end(kInits), [&](const auto& one) { return one.init == init; });
  const auto size = [](int64_t value) { return value == 0 ? nlohmann::json(nullptr) : nlohmann::json(value); };
  return PeftText({
      {"peft_type", "PROMPT_TUNING"},
      {"task_type", config.task_type},
      {"base_model_name_or_path", StringOrNull(config.base_model_name_or_path)},
      {"inference_mode", true},
      {"num_virtual_tokens", config.num_virtual_tokens},
      {"token_dim", size(config.token_dim)},
      {"num_layers", size(config.num_layers)},
      {"num_attention_heads", size(config.num_attention_heads)},
      {"num_transformer_submodules", config.num_transformer_submodules},
      {"modules_to_save", IsPeftHeadTask(config.task_type)
                              ? nlohmann::json(PeftHeadNames(HeadOfPeftTask(config.task_type)))
                              : nlohmann::json(nullptr)},
      {"prompt_tuning_init", name->peft},
      {"prompt_tuning_init_text", as_random ? nlohmann::json(nullptr) : StringOrNull(config.init_text)},
      {"tokenizer_name_or_path", StringOrNull(config.tokenizer_name_or_path)},
  });
}

absl::StatusOr<PromptInit> ParsePromptInit(const std::string& name) {
  for (const InitName& one : kInits) {
    if (name == one.ours) return one.init;
  }
  return TenonError(Reason::kOptionInvalid,
                    absl::StrCat("init is \"", name, "\"; it must be random, vocabulary or text"), "init");
}

absl::Status CheckPromptOptions(const PromptConfig& config) {
  if (config.num_virtual_tokens < 1 || config.num_virtual_tokens > kMaxVirtualTokens) {
    return TenonError(
        Reason::kOptionInvalid,
        absl::StrCat("num_virtual_tokens is ", config.num_virtual_tokens, "; it must be from 1 to ", kMaxVirtualTokens),
        "num_virtual_tokens");
  }
  const auto refuse = [](const std::string& what) { return TenonError(Reason::kOptionInvalid, what, "init_text"); };
  if (config.init == PromptInit::kText && config.init_text.empty()) return refuse("init is text; init_text is missing");
  if (config.init != PromptInit::kText && !config.init_text.empty()) return refuse("init_text belongs to init=text");
  if (config.init_text.size() > kMaxTextBytes) {
    return refuse(absl::StrCat("init_text is longer than ", kMaxTextBytes, " bytes"));
  }
  return absl::OkStatus();
}

}  // namespace tenon::formats
