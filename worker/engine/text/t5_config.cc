#include "worker/engine/text/t5_config.h"

#include <algorithm>
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
// In the order in which transformers adds them.
constexpr const char* kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};

// The content of a token that is a string, or an object with a content; nullptr for all else.
const std::string* Content(const Json& token) {
  const Json* content = &token;
  if (token.is_object()) {
    const auto it = token.find("content");
    if (it == token.end()) return nullptr;
    content = &*it;
  }
  const auto* text = content->get_ptr<const std::string*>();
  return text == nullptr || text->empty() ? nullptr : text;
}

void ReadNamedTokens(const Json& json, JsonFields* fields, T5Config* config) {
  const auto read = [&](const std::string& name, const std::string& otherwise) {
    const Json* token = fields->Get(name);
    const std::string* content = token == nullptr ? nullptr : Content(*token);
    if (token != nullptr && content == nullptr) fields->Fail(name, "must be a string, or an object with a content");
    return content == nullptr ? otherwise : *content;
  };
  config->eos_token = read("eos_token", config->eos_token);
  config->unk_token = read("unk_token", config->unk_token);
  for (const std::string name : kNames) {
    const std::string token = read(name, name == "eos_token"   ? config->eos_token
                                         : name == "unk_token" ? config->unk_token
                                         : name == "pad_token" ? "<pad>"
                                                               : "");
    if (!token.empty()) config->named_tokens.push_back(token);
  }
  // Names of one's own.
  for (const auto& [name, token] : json.items()) {
    const bool known = std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
    if (known || !absl::EndsWith(name, "_token")) continue;
    const std::string* content = Content(token);
    if (content != nullptr) config->named_tokens.push_back(*content);
  }
}

void ReadExtraTokens(JsonFields* fields, T5Config* config) {
  for (const char* name : {"extra_special_tokens", "additional_special_tokens"}) {
    const Json* list = fields->Get(name);
    if (list == nullptr) continue;
    std::vector<std::string> tokens;
    for (const Json& token : *list) {
      const std::string* content = Content(token);
      if (content != nullptr) tokens.push_back(*content);
    }
    const bool names = list->is_object() && std::string(name) == "extra_special_tokens";
    if ((!list->is_array() && !names) || tokens.size() != list->size()) {
      return fields->Fail(name, "must be a list of strings that are not empty");
    }
    if (names) {
      config->named_tokens.insert(config->named_tokens.end(), tokens.begin(), tokens.end());
    } else if (!config->extra_tokens.has_value() || config->extra_tokens->empty()) {
      config->extra_tokens = std::move(tokens);
    }
  }
}

}  // namespace

AddedToken SpecialToken(const std::string& content) {
  AddedToken token;
  token.content = content;
  token.special = true;
  return token;
}

std::vector<AddedToken> Sentinels(int64_t count) {
  std::vector<AddedToken> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(SpecialToken(absl::StrCat("<extra_id_", i, ">")));
  return tokens;
}

std::vector<AddedToken> T5Config::AddedTokensAfter(std::vector<AddedToken> own,
                                                   const std::vector<AddedToken>& otherwise) const {
  std::vector<AddedToken> tokens = added_tokens.value_or(std::move(own));
  std::unordered_set<std::string> known;
  for (AddedToken& token : tokens) {
    known.insert(token.content);
    const bool named = std::find(named_tokens.begin(), named_tokens.end(), token.content) != named_tokens.end();
    token.special = token.special || named;
  }
  const auto add = [&](const AddedToken& token) {
    if (known.insert(token.content).second) tokens.push_back(token);
  };
  for (const std::string& content : named_tokens) add(SpecialToken(content));
  if (!extra_tokens.has_value()) {
    for (const AddedToken& token : otherwise) add(token);
    return tokens;
  }
  for (const std::string& content : *extra_tokens) add(SpecialToken(content));
  return tokens;
}

absl::StatusOr<T5Config> ParseT5Config(const std::string& text) {
  Json json = Json::object();
  if (!text.empty()) {
    ASSIGN_OR_RETURN(json, formats::ParseJsonObject(text, kFile, Reason::kBaseInvalid));
  }
  T5Config config;
  JsonFields fields(json, kFile, Reason::kBaseInvalid);
  ReadNamedTokens(json, &fields, &config);
  ReadExtraTokens(&fields, &config);
  config.extra_ids = fields.Int("extra_ids", config.extra_ids, 0, 100'000);
  config.clean_up_spaces = fields.Bool("clean_up_tokenization_spaces", config.clean_up_spaces);
  if (fields.String("truncation_side", "right") != "right") fields.Unsupported("truncation_side", "must be right");
  if (fields.Bool("split_special_tokens", false)) fields.Unsupported("split_special_tokens", "must be false");
  RETURN_IF_ERROR(fields.status());
  const Json* decoder = fields.Get("added_tokens_decoder");
  if (decoder != nullptr) {
    ASSIGN_OR_RETURN(config.added_tokens, ReadAddedTokensDecoder(*decoder));
  }
  return config;
}

}  // namespace tenon::engine
