#include "worker/engine/text/tokenizer_json_parts.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"
#include "worker/engine/text/tokenizer_config.h"

namespace tenon::engine::tokenizer_json {

using Json = nlohmann::json;

absl::Status Invalid(const std::string& key, const std::string& what) {
  return TenonError(Reason::kBaseInvalid, absl::StrCat(kFile, ": ", key, " ", what), key);
}

absl::Status Unsupported(const std::string& key, const Json& found, const std::string& why) {
  return TenonError(Reason::kUnsupported, absl::StrCat(kFile, ": ", key, " ", formats::Shown(found), " ", why), key);
}

absl::StatusOr<Json> Parse(const std::string& text) {
  return formats::ParseJsonObject(text, kFile, Reason::kBaseInvalid);
}

std::string ModelType(const std::string& text) {
  bool in_model = false, merges = false;
  const auto keep = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event != Json::parse_event_t::key) return true;
    if (depth == 1) in_model = parsed == "model";
    merges = merges || (depth == 2 && in_model && parsed == "merges");
    return in_model && (depth == 1 || (depth == 2 && parsed == "type"));
  };
  const Json json = Json::parse(text, keep, /*allow_exceptions=*/false);
  const auto model = json.is_object() ? json.find("model") : json.end();
  if (!json.is_object() || model == json.end() || !model->is_object()) return "";
  return model->contains("type") ? Type(*model) : merges ? "BPE" : "";
}

std::string Type(const Json& part) {
  const auto type = part.is_object() ? part.find("type") : part.end();
  return part.is_object() && type != part.end() && type->is_string() ? type->get<std::string>() : "";
}

absl::StatusOr<std::vector<Json>> Parts(const Json& json, const std::string& key, const std::string& list) {
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return std::vector<Json>();
  if (!it->is_object()) return Invalid(key, "must be an object");
  if (Type(*it) != "Sequence") return std::vector<Json>{*it};
  const auto parts = it->find(list);
  if (parts == it->end() || !parts->is_array()) return Invalid(absl::StrCat(key, ".", list), "must be a list");
  return parts->get<std::vector<Json>>();
}

absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(const Json& json) {
  std::vector<AddedToken> tokens;
  const auto it = json.find("added_tokens");
  if (it == json.end() || it->is_null()) return tokens;
  if (!it->is_array()) return Invalid("added_tokens", "must be a list");
  for (const Json& item : *it) {
    if (!item.is_object()) return Invalid("added_tokens", "must hold objects");
    ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(item, absl::StrCat(kFile, ": added_tokens")));
    formats::JsonFields fields(item, absl::StrCat(kFile, ": added_tokens"), Reason::kBaseInvalid);
    token.id = static_cast<int32_t>(fields.Int("id", 0, 0, kMaxId));
    RETURN_IF_ERROR(fields.status());
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace tenon::engine::tokenizer_json
