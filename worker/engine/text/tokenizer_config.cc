#include "worker/engine/text/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"

namespace tenon::engine {
namespace {

using formats::JsonFields;

constexpr char kFile[] = "tokenizer_config.json";
constexpr int32_t kMaxId = 100'000'000;

// A special token is a string, or an object with `content`.
std::string ReadToken(JsonFields& fields, const std::string& key, const std::string& otherwise) {
  const nlohmann::json* token = fields.Get(key);
  if (token == nullptr) return otherwise;
  const bool object = token->is_object() && token->contains("content");
  const nlohmann::json& content = object ? (*token)["content"] : *token;
  if (content.is_string()) return content.get<std::string>();
  fields.Fail(key, "must be a string, or an object with a content");
  return otherwise;
}

std::optional<bool> ReadFlag(JsonFields& fields, const std::string& key) {
  if (fields.Get(key) == nullptr) return std::nullopt;
  return fields.Bool(key, false);
}

void ReadTypes(JsonFields& fields, TokenizerConfig* config) {
  const std::string name = fields.String("tokenizer_class", "");
  config->generic_class = name == "PreTrainedTokenizerFast" || name == "TokenizersBackend";
  config->types = !config->generic_class && !absl::StartsWith(name, "DistilBert");
  if (fields.Get("model_input_names") == nullptr) return;
  const std::vector<std::string> names = fields.Strings("model_input_names");
  config->types = std::find(names.begin(), names.end(), "token_type_ids") != names.end();
}

}  // namespace

void TokenizerConfig::Apply(BertNormalizerOptions* options) const {
  if (tokenize_chinese_chars.has_value()) options->handle_chinese_chars = *tokenize_chinese_chars;
  if (do_lower_case.has_value()) {
    options->lowercase = *do_lower_case;
    options->strip_accents = *do_lower_case;
  }
  if (strip_accents.has_value()) options->strip_accents = *strip_accents;
}

absl::StatusOr<AddedToken> ReadAddedToken(const nlohmann::json& object, const std::string& file) {
  JsonFields fields(object, file, Reason::kBaseInvalid);
  AddedToken token;
  token.content = fields.String("content", "");
  token.single_word = fields.Bool("single_word", false);
  token.lstrip = fields.Bool("lstrip", false);
  token.rstrip = fields.Bool("rstrip", false);
  token.special = fields.Bool("special", false);
  token.normalized = fields.Bool("normalized", !token.special);
  if (token.content.empty()) fields.Fail("content", "is missing");
  RETURN_IF_ERROR(fields.status());
  return token;
}

absl::StatusOr<std::vector<AddedToken>> ReadAddedTokensDecoder(const nlohmann::json& decoder) {
  std::vector<AddedToken> tokens;
  const auto error = [](const std::string& what) {
    return TenonError(Reason::kBaseInvalid, absl::StrCat(kFile, ": added_tokens_decoder ", what),
                      "added_tokens_decoder");
  };
  if (!decoder.is_object()) return error("must be an object");
  for (const auto& [key, item] : decoder.items()) {
    int32_t id = -1;
    const auto [end, problem] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (problem != std::errc() || end != key.data() + key.size() || id < 0 || id > kMaxId) {
      return error(absl::StrCat("has \"", key, "\", which is not an id"));
    }
    if (!item.is_object()) return error("must hold objects");
    ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(item, absl::StrCat(kFile, ": added_tokens_decoder")));
    token.id = id;
    tokens.push_back(std::move(token));
  }
  std::stable_sort(tokens.begin(), tokens.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return tokens;
}

absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(const std::string& text) {
  TokenizerConfig config;
  if (text.empty()) return config;
  ASSIGN_OR_RETURN(const nlohmann::json json, formats::ParseJsonObject(text, kFile, Reason::kBaseInvalid));
  JsonFields fields(json, kFile, Reason::kBaseInvalid);
  config.do_lower_case = ReadFlag(fields, "do_lower_case");
  config.strip_accents = ReadFlag(fields, "strip_accents");
  config.tokenize_chinese_chars = ReadFlag(fields, "tokenize_chinese_chars");
  ReadTypes(fields, &config);
  config.unk_token = ReadToken(fields, "unk_token", "[UNK]");
  config.sep_token = ReadToken(fields, "sep_token", "[SEP]");
  config.pad_token = ReadToken(fields, "pad_token", "[PAD]");
  config.cls_token = ReadToken(fields, "cls_token", "[CLS]");
  config.mask_token = ReadToken(fields, "mask_token", "[MASK]");
  RETURN_IF_ERROR(fields.status());
  const nlohmann::json* decoder = fields.Get("added_tokens_decoder");
  if (decoder != nullptr) {
    ASSIGN_OR_RETURN(config.added_tokens, ReadAddedTokensDecoder(*decoder));
  }
  return config;
}

}  // namespace tenon::engine
