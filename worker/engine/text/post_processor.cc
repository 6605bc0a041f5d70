#include "worker/engine/text/post_processor.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/text/tokenizer_json_parts.h"

namespace tenon::engine {
namespace {

using Json = nlohmann::json;
using tokenizer_json::Invalid;

constexpr char kKey[] = "post_processor";

bool IsId(const Json& id) {
  return id.is_number_unsigned() && id.get<uint64_t>() <= static_cast<uint64_t>(tokenizer_json::kMaxId);
}

const Json* Find(const Json& object, const std::string& key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() ? nullptr : &*it;
}

// {"id": "<s>", "ids": [0], "tokens": ["<s>"]}, one of the template's special_tokens.
absl::Status AddTokenIds(const Json& part, const std::string& name, std::vector<int32_t>* ids) {
  const Json* tokens = Find(part, "special_tokens");
  const Json* token = tokens == nullptr ? nullptr : Find(*tokens, name);
  const Json* list = token == nullptr ? nullptr : Find(*token, "ids");
  bool good = list != nullptr && list->is_array();
  for (size_t i = 0; good && i < list->size(); ++i) {
    good = IsId((*list)[i]);
    if (good) ids->push_back((*list)[i].get<int32_t>());
  }
  return good ? absl::OkStatus() : Invalid(kKey, absl::StrCat("does not say the ids of \"", name, "\""));
}

// The special tokens before, between and behind the sequences `names`, which have to come in this order.
absl::Status ReadTemplate(const Json& part, const char* key, const std::vector<std::string>& names,
                          const std::vector<std::vector<int32_t>*>& gaps) {
  const std::string path = absl::StrCat(kKey, ".", key);
  const Json* items = Find(part, key);
  if (items == nullptr || !items->is_array()) return Invalid(path, "must be a list");
  size_t texts = 0;
  for (const Json& item : *items) {
    const Json* sequence = Find(item, "Sequence");
    const Json* special = Find(item, "SpecialToken");
    const Json* id = sequence != nullptr ? Find(*sequence, "id") : special != nullptr ? Find(*special, "id") : nullptr;
    if (id == nullptr || !id->is_string())
      return Invalid(path, "has an item that is neither a text nor a special token");
    if (sequence == nullptr) {
      RETURN_IF_ERROR(AddTokenIds(part, id->get<std::string>(), gaps[texts]));
    } else if (texts < names.size() && *id == names[texts]) {
      ++texts;
    } else {
      return tokenizer_json::Unsupported(path, *items, "is not supported: each text must be there once, in order");
    }
  }
  return texts == names.size() ? absl::OkStatus() : Invalid(path, "must have each text once");
}

absl::StatusOr<TokensAround> ReadTemplates(const Json& part) {
  TokensAround tokens;
  RETURN_IF_ERROR(ReadTemplate(part, "single", {"A"}, {&tokens.before, &tokens.after}));
  RETURN_IF_ERROR(ReadTemplate(part, "pair", {"A", "B"}, {&tokens.before_pair, &tokens.between, &tokens.after_pair}));
  return tokens;
}

// {"cls": ["<s>", 0], "sep": ["</s>", 2]}.
absl::StatusOr<TokensAround> ReadRoberta(const Json& part) {
  int32_t ids[2] = {};
  const char* const keys[2] = {"cls", "sep"};
  for (int i = 0; i < 2; ++i) {
    const Json* token = Find(part, keys[i]);
    if (token == nullptr || !token->is_array() || token->size() != 2 || !IsId((*token)[1])) {
      return Invalid(absl::StrCat(kKey, ".", keys[i]), "must be a token and its id");
    }
    ids[i] = (*token)[1].get<int32_t>();
  }
  return RobertaTokensAround(ids[0], ids[1]);
}

}  // namespace

TokensAround RobertaTokensAround(int32_t cls, int32_t sep) { return {{cls}, {sep}, {cls}, {sep, sep}, {sep}}; }

absl::StatusOr<std::optional<TokensAround>> ReadPostProcessor(const Json& json) {
  ASSIGN_OR_RETURN(const std::vector<Json> parts, tokenizer_json::Parts(json, kKey, "processors"));
  std::optional<TokensAround> tokens;
  bool found = false;
  for (const Json& part : parts) {
    const std::string type = tokenizer_json::Type(part);
    // It only moves the places that tokens have in the text.
    if (type == "ByteLevel") {
      if (!tokens.has_value()) tokens.emplace();
      continue;
    }
    if ((type != "TemplateProcessing" && type != "RobertaProcessing") || found) {
      return tokenizer_json::Unsupported(kKey, part, "is not supported");
    }
    ASSIGN_OR_RETURN(tokens, type == "TemplateProcessing" ? ReadTemplates(part) : ReadRoberta(part));
    found = true;
  }
  return tokens;
}

}  // namespace tenon::engine
