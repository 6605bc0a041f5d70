#include "worker/engine/text/byte_level_config.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"
#include "worker/engine/text/tokenizer_config.h"

namespace tenon::engine {
namespace {

using formats::JsonFields;
using Json = nlohmann::json;

constexpr char kFile[] = "tokenizer_config.json";
constexpr char kMap[] = "special_tokens_map.json";
constexpr char kAdded[] = "added_tokens.json";
constexpr char kModelConfig[] = "config.json";

// In the order in which transformers adds them, with the tokens that its classes give where the files are silent.
struct Named {
  const char* name;
  const char* gpt2;
  const char* roberta;
};
constexpr char kEnd[] = "<|endoftext|>";
constexpr Named kNames[] = {{"bos_token", kEnd, "<s>"},  {"eos_token", kEnd, "</s>"}, {"unk_token", kEnd, "<unk>"},
                            {"sep_token", "", "</s>"},   {"pad_token", "", "<pad>"},  {"cls_token", "", "<s>"},
                            {"mask_token", "", "<mask>"}};

struct Class {
  const char* name;
  ByteLevelClass tokenizer_class;
};
// By tokenizer_class, without "Fast" at its end, and by model_type.
constexpr Class kClasses[] = {{"GPT2Tokenizer", ByteLevelClass::kGpt2},
                              {"RobertaTokenizer", ByteLevelClass::kRoberta},
                              {"BartTokenizer", ByteLevelClass::kRoberta},
                              {"PreTrainedTokenizer", ByteLevelClass::kFile},
                              {"TokenizersBackend", ByteLevelClass::kFile}};
constexpr Class kModelTypes[] = {{"gpt2", ByteLevelClass::kGpt2},
                                 {"opt", ByteLevelClass::kGpt2},
                                 {"roberta", ByteLevelClass::kRoberta},
                                 {"bart", ByteLevelClass::kRoberta}};

// Of a file that may be missing.
absl::StatusOr<Json> ParseObject(const std::string& text, const char* file) {
  if (text.empty()) return Json(Json::object());
  return formats::ParseJsonObject(text, file, Reason::kBaseInvalid);
}

absl::StatusOr<ByteLevelClass> ReadClass(const Json& tokenizer_config, const Json& config) {
  JsonFields fields(tokenizer_config, kFile, Reason::kBaseInvalid);
  JsonFields model_fields(config, kModelConfig, Reason::kBaseInvalid);
  const std::string named = fields.String("tokenizer_class", model_fields.String("tokenizer_class", ""));
  const std::string model_type = model_fields.String("model_type", "");
  RETURN_IF_ERROR(fields.status());
  RETURN_IF_ERROR(model_fields.status());
  if (named.empty()) {
    for (const Class& known : kModelTypes) {
      if (model_type == known.name) return known.tokenizer_class;
    }
    return ByteLevelClass::kFile;
  }
  for (const Class& known : kClasses) {
    if (named == known.name || named == absl::StrCat(known.name, "Fast")) return known.tokenizer_class;
  }
  return TenonError(Reason::kUnsupported,
                    absl::StrCat(kFile, ": tokenizer_class ", named, " is not supported for byte pairs"),
                    "tokenizer_class");
}

// A token that is a string, or an object with a content and flags.
absl::StatusOr<AddedToken> ReadToken(const Json& value, const std::string& key) {
  AddedToken token;
  token.special = true;
  if (value.is_object()) {
    ASSIGN_OR_RETURN(token, ReadAddedToken(value, absl::StrCat(kFile, ": ", key)));
    return token;
  }
  if (value.is_string()) token.content = value.get<std::string>();
  if (!token.content.empty()) return token;
  return TenonError(Reason::kBaseInvalid,
                    absl::StrCat(kFile, ": ", key, " must be a string, or an object with a content"), key);
}

absl::Status AddNamed(const Json& value, const std::string& name, ByteLevelConfig* config) {
  ASSIGN_OR_RETURN(AddedToken token, ReadToken(value, name));
  token.special = true;
  config->names[name] = token.content;
  config->named_tokens.push_back(std::move(token));
  return absl::OkStatus();
}

absl::Status ReadNamedTokens(const Json& json, ByteLevelConfig* config) {
  for (const Named& known : kNames) {
    const auto it = json.find(known.name);
    const char* otherwise = config->tokenizer_class == ByteLevelClass::kGpt2      ? known.gpt2
                            : config->tokenizer_class == ByteLevelClass::kRoberta ? known.roberta
                                                                                  : "";
    // A null says that there is none.
    if (it != json.end() ? it->is_null() : *otherwise == '\0') continue;
    RETURN_IF_ERROR(AddNamed(it != json.end() ? *it : Json(otherwise), known.name, config));
  }
  for (const auto& [name, value] : json.items()) {
    const bool known =
        std::any_of(std::begin(kNames), std::end(kNames), [&](const Named& n) { return name == n.name; });
    // Flags such as add_bos_token end alike.
    if (known || !absl::EndsWith(name, "_token") || !(value.is_string() || value.is_object())) continue;
    RETURN_IF_ERROR(AddNamed(value, name, config));
  }
  return absl::OkStatus();
}

absl::Status ReadExtraTokens(const Json& json, ByteLevelConfig* config) {
  for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
    const auto it = json.find(key);
    if (it == json.end() || it->is_null()) continue;
    const bool names = it->is_object() && std::string(key) == "extra_special_tokens";
    if (!it->is_array() && !names) {
      return TenonError(Reason::kBaseInvalid, absl::StrCat(kFile, ": ", key, " must be a list"), key);
    }
    const bool counts = names || config->extra_tokens.empty();
    for (const auto& [name, value] : it->items()) {
      if (names) {
        RETURN_IF_ERROR(AddNamed(value, name, config));
      } else if (counts) {
        ASSIGN_OR_RETURN(AddedToken token, ReadToken(value, key));
        config->extra_tokens.push_back(std::move(token));
      }
    }
  }
  return absl::OkStatus();
}

// {"<token>": id}, what transformers wrote before there was an added_tokens_decoder. Named tokens are special, and
// extra ones too, unless special_tokens_map.json calls them additional_special_tokens, which transformers reads too
// late.
absl::StatusOr<std::vector<AddedToken>> ReadAddedTokensFile(const std::string& text, bool extra_are_special,
                                                            const ByteLevelConfig& config) {
  ASSIGN_OR_RETURN(const Json json, ParseObject(text, kAdded));
  JsonFields fields(json, kAdded, Reason::kBaseInvalid);
  std::unordered_set<std::string> special;
  for (const AddedToken& token : config.named_tokens) special.insert(token.content);
  if (extra_are_special) {
    for (const AddedToken& token : config.extra_tokens) special.insert(token.content);
  }
  std::vector<AddedToken> tokens;
  for (const auto& [content, id] : json.items()) {
    AddedToken token;
    token.content = content;
    token.id = static_cast<int32_t>(fields.Int(content, -1, 0, std::numeric_limits<int32_t>::max()));
    token.special = special.contains(content);
    token.normalized = !token.special;
    tokens.push_back(std::move(token));
  }
  RETURN_IF_ERROR(fields.status());
  std::stable_sort(tokens.begin(), tokens.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return tokens;
}

// What special_tokens_map.json says wins.
absl::Status MergeMap(const std::string& text, Json* json, bool* names_extra) {
  ASSIGN_OR_RETURN(Json map, ParseObject(text, kMap));
  for (auto& [key, value] : map.items()) {
    if (value.is_object() && key != "extra_special_tokens") value["special"] = true;
    (*json)[key] = value;
    *names_extra = *names_extra || key == "additional_special_tokens";
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<AddedToken> ByteLevelConfig::AddedTokensAfter(std::vector<AddedToken> own) const {
  const bool by_file = tokenizer_class == ByteLevelClass::kFile;
  std::vector<AddedToken> tokens = by_file ? std::move(own) : added_tokens.value_or(std::move(own));
  std::unordered_set<std::string> known, named;
  for (const auto& [name, content] : names) named.insert(content);
  for (AddedToken& token : tokens) {
    known.insert(token.content);
    if (!by_file) token.special = token.special || named.contains(token.content);
  }
  const auto add = [&](const AddedToken& token) {
    if (known.insert(token.content).second) tokens.push_back(token);
  };
  if (by_file && added_tokens.has_value()) {
    for (AddedToken token : *added_tokens) {
      token.special = token.special || named.contains(token.content);
      add(token);
    }
  }
  for (const AddedToken& token : named_tokens) add(token);
  for (const AddedToken& token : extra_tokens) add(token);
  return tokens;
}

absl::StatusOr<ByteLevelConfig> ParseByteLevelConfig(const ByteLevelConfigFiles& files) {
  ASSIGN_OR_RETURN(Json json, ParseObject(files.tokenizer_config, kFile));
  ASSIGN_OR_RETURN(const Json model_config, ParseObject(files.config, kModelConfig));
  ByteLevelConfig config;
  ASSIGN_OR_RETURN(config.tokenizer_class, ReadClass(json, model_config));
  bool map_names_extra = false;
  if (!json.contains("added_tokens_decoder")) {
    RETURN_IF_ERROR(MergeMap(files.special_tokens_map, &json, &map_names_extra));
  }
  RETURN_IF_ERROR(ReadNamedTokens(json, &config));
  RETURN_IF_ERROR(ReadExtraTokens(json, &config));
  JsonFields fields(json, kFile, Reason::kBaseInvalid);
  config.add_prefix_space = fields.Bool("add_prefix_space", false);
  config.add_bos_token = fields.Bool("add_bos_token", false);
  config.add_eos_token = fields.Bool("add_eos_token", false);
  // The second name is transformers' own: by the first alone it does nothing for byte pairs.
  config.clean_up_spaces =
      fields.Bool("clean_up_tokenization_spaces", false) &&
      fields.Bool("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", false);
  if (fields.String("truncation_side", "right") != "right") fields.Unsupported("truncation_side", "must be right");
  if (fields.Bool("split_special_tokens", false)) fields.Unsupported("split_special_tokens", "must be false");
  RETURN_IF_ERROR(fields.status());
  const Json* decoder = fields.Get("added_tokens_decoder");
  if (decoder != nullptr) {
    ASSIGN_OR_RETURN(config.added_tokens, ReadAddedTokensDecoder(*decoder));
  } else if (!files.added_tokens.empty()) {
    ASSIGN_OR_RETURN(config.added_tokens, ReadAddedTokensFile(files.added_tokens, !map_names_extra, config));
  }
  return config;
}

}  // namespace tenon::engine
