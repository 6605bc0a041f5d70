#include "worker/engine/generate/generation_config.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/formats/files.h"
#include "common/formats/json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"

namespace tenon::engine {
namespace {

using nlohmann::json;

constexpr int64_t kMaxFileBytes = 1 << 20;
constexpr int64_t kMaxLength = int64_t{1} << 31;
constexpr double kMaxReal = std::numeric_limits<double>::max();

// Keys that change what transformers generates, and the value at which each does not. Everything else that is not read
// is about memory, caches or output formats.
const json& Refused() {
  static const json kRefused = json::parse(R"({
    "num_beam_groups": 1, "diversity_penalty": 0.0, "penalty_alpha": null, "dola_layers": null, "guidance_scale": 1.0,
    "constraints": null, "force_words_ids": null, "sequence_bias": null, "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0, "exponential_decay_length_penalty": null, "renormalize_logits": false,
    "min_p": null, "top_h": null, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "token_healing": false,
    "watermarking_config": null, "remove_invalid_values": false, "forced_decoder_ids": null, "max_time": null})");
  return kRefused;
}

class Reader {
 public:
  Reader(const json& object, const std::string& file) : fields_(object, file, Reason::kBaseInvalid) {}

  void Int(const char* key, std::optional<int64_t>& to, int64_t low) {
    if (fields_.Get(key) != nullptr) to = fields_.Int(key, 0, low, kMaxLength);
  }
  void Real(const char* key, std::optional<double>& to) {
    if (fields_.Get(key) != nullptr) to = fields_.Real(key, 0, -kMaxReal, kMaxReal);
  }
  // Hugging Face writes one id as a number and several as a list.
  void Ids(const char* key, std::vector<int32_t>& to) {
    const json* value = fields_.Get(key);
    if (value != nullptr) to = IdsOf(key, value->is_array() ? *value : json::array({*value}));
  }
  void Id(const char* key, std::optional<int32_t>& to) {
    if (fields_.Get(key) != nullptr) to = static_cast<int32_t>(fields_.Int(key, 0, 0, INT32_MAX));
  }
  void Words(const char* key, std::vector<std::vector<int32_t>>& to) {
    const json* value = fields_.Get(key);
    if (value == nullptr) return;
    if (!value->is_array()) return fields_.Fail(key, "must be a list of lists of token ids");
    for (const json& word : *value) to.push_back(IdsOf(key, word));
  }
  void Early(const char* key, std::optional<EarlyStopping>& to) {
    const json* value = fields_.Get(key);
    if (value == nullptr) return;
    if (*value == "never") {
      to = EarlyStopping::kNever;
    } else if (value->is_boolean()) {
      to = value->get<bool>() ? EarlyStopping::kTrue : EarlyStopping::kFalse;
    } else {
      fields_.Fail(key, R"(must be true, false or "never")");
    }
  }
  void StopStrings(const char* key, std::vector<std::string>& to) {
    const json* value = fields_.Get(key);
    if (value == nullptr) return;
    if (value->is_string()) {
      to = {value->get<std::string>()};
    } else {
      to = fields_.Strings(key);
    }
  }
  void Refuse() {
    for (const auto& [key, harmless] : Refused().items()) {
      const json* value = fields_.Get(key);
      if (value == nullptr || *value == harmless || formats::IsFalsy(*value)) continue;
      fields_.Unsupported(key, absl::StrCat("is ", formats::Shown(*value), ", which is not supported"));
    }
  }
  const absl::Status& status() const { return fields_.status(); }

 private:
  std::vector<int32_t> IdsOf(const char* key, const json& list) {
    std::vector<int32_t> ids;
    for (const json& id : list) {
      if (!id.is_number_integer() || id < 0 || id > INT32_MAX) {
        fields_.Fail(key, "must hold token ids");
        return {};
      }
      ids.push_back(id.get<int32_t>());
    }
    return ids;
  }

  formats::JsonFields fields_;
};

void ReadTokens(Reader& reader, GenerationOptions& options) {
  reader.Ids("eos_token_id", options.eos_token_ids);
  reader.Id("pad_token_id", options.pad_token_id);
  reader.Id("decoder_start_token_id", options.decoder_start_token_id);
  reader.Id("forced_bos_token_id", options.forced_bos_token_id);
  reader.Ids("forced_eos_token_id", options.forced_eos_token_ids);
}

absl::StatusOr<json> ParseObject(const std::string& text, const std::string& file) {
  absl::StatusOr<json> parsed = formats::ParseJson(text);
  if (!parsed.ok()) {
    return TenonError(Reason::kBaseInvalid, absl::StrCat(file, ": ", parsed.status().message()), file);
  }
  if (!parsed->is_object()) return TenonError(Reason::kBaseInvalid, absl::StrCat(file, ": must be an object"), file);
  return parsed;
}

absl::StatusOr<GenerationOptions> ReadOptions(const json& object, const std::string& file) {
  GenerationOptions options;
  Reader reader(object, file);
  ReadTokens(reader, options);
  reader.Int("max_new_tokens", options.max_new_tokens, 1);
  reader.Int("min_new_tokens", options.min_new_tokens, 0);
  reader.Int("max_length", options.max_length, 1);
  reader.Int("min_length", options.min_length, 0);
  reader.Int("num_beams", options.num_beams, 1);
  reader.Int("num_return_sequences", options.num_return_sequences, 1);
  reader.Real("length_penalty", options.length_penalty);
  reader.Early("early_stopping", options.early_stopping);
  reader.Real("temperature", options.temperature);
  reader.Int("top_k", options.top_k, 0);
  reader.Real("top_p", options.top_p);
  reader.Real("typical_p", options.typical_p);
  reader.Real("repetition_penalty", options.repetition_penalty);
  reader.Int("no_repeat_ngram_size", options.no_repeat_ngram_size, 0);
  reader.Words("bad_words_ids", options.bad_words);
  reader.Ids("suppress_tokens", options.suppress_tokens);
  reader.Ids("begin_suppress_tokens", options.begin_suppress_tokens);
  reader.StopStrings("stop_strings", options.stop_strings);
  reader.Refuse();
  RETURN_IF_ERROR(reader.status());
  return options;
}

}  // namespace

absl::StatusOr<GenerationOptions> ParseGenerationConfig(const std::string& text, const std::string& file) {
  ASSIGN_OR_RETURN(const json object, ParseObject(text, file));
  return ReadOptions(object, file);
}

absl::StatusOr<GenerationOptions> ParseTaskConfig(const std::string& config_json, const std::string& task) {
  ASSIGN_OR_RETURN(const json object, ParseObject(config_json, "config.json"));
  const json* at = &object;
  std::string path;
  for (const std::string& key : {std::string("task_specific_params"), task}) {
    const auto found = at->find(key);
    if (found == at->end() || found->is_null()) return GenerationOptions();
    absl::StrAppend(&path, path.empty() ? "" : ".", key);
    if (!found->is_object()) {
      return TenonError(Reason::kBaseInvalid, absl::StrCat("config.json: ", path, " must be an object"), path);
    }
    at = &*found;
  }
  return ReadOptions(*at, absl::StrCat("config.json, ", path));
}

absl::StatusOr<GenerationOptions> ReadTaskConfig(const std::filesystem::path& folder, const std::string& task) {
  ASSIGN_OR_RETURN(const std::string text,
                   formats::ReadFile(folder / "config.json", kMaxFileBytes, Reason::kBaseInvalid));
  return ParseTaskConfig(text, task);
}

absl::StatusOr<GenerationOptions> ReadGenerationConfig(const std::filesystem::path& folder) {
  const char* const name =
      std::filesystem::exists(folder / "generation_config.json") ? "generation_config.json" : "config.json";
  ASSIGN_OR_RETURN(const std::string text, formats::ReadFile(folder / name, kMaxFileBytes, Reason::kBaseInvalid));
  return ParseGenerationConfig(text, name);
}

}  // namespace tenon::engine
