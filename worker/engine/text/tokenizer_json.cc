// tokenizer.json of Hugging Face's tokenizers library, for WordPiece models.
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"
#include "worker/engine/text/tokenizer_config.h"
#include "worker/engine/text/wordpiece_tokenizer.h"

namespace tenon::engine {
namespace {

using formats::JsonFields;
using Json = nlohmann::json;

constexpr char kFile[] = "tokenizer.json";
constexpr int64_t kMaxId = 100'000'000;

absl::Status Invalid(const std::string& key, const std::string& what) {
  return TenonError(Reason::kBaseInvalid, absl::StrCat(kFile, ": ", key, " ", what), key);
}

// Checks that a part is an object of this type; some parts may be missing or null.
absl::Status CheckType(const Json& json, const char* part, const char* type) {
  const auto it = json.find(part);
  if (it == json.end() || it->is_null()) return Invalid(part, "is missing");
  if (!it->is_object()) return Invalid(part, "must be an object");
  const auto found = it->find("type");
  // Files of old versions do not say the model's type.
  if (found == it->end() && std::string(part) == "model" && it->contains("continuing_subword_prefix"))
    return absl::OkStatus();
  if (found != it->end() && *found == type) return absl::OkStatus();
  const std::string shown = found == it->end() ? "of no type" : formats::Shown(*found);
  return TenonError(Reason::kUnsupported,
                    absl::StrCat(kFile, ": ", part, " ", shown, " is not supported; ", type, " is"), part);
}

absl::Status ReadModel(const Json& model, WordPieceVocabulary* vocabulary) {
  JsonFields fields(model, absl::StrCat(kFile, ": model"), Reason::kBaseInvalid);
  vocabulary->unk_token = fields.String("unk_token", "[UNK]");
  vocabulary->continuing_prefix = fields.String("continuing_subword_prefix", "##");
  vocabulary->max_characters = fields.Int("max_input_chars_per_word", 100, 1, 1'000'000);
  RETURN_IF_ERROR(fields.status());
  const auto vocab = model.find("vocab");
  if (vocab == model.end() || !vocab->is_object() || vocab->empty()) return Invalid("model.vocab", "must be an object");
  std::set<int32_t> ids;
  for (const auto& [token, id] : vocab->items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > static_cast<uint64_t>(kMaxId)) {
      return Invalid("model.vocab", absl::StrCat("has ", formats::Shown(id), " as the id of \"", token, "\""));
    }
    if (!ids.insert(id.get<int32_t>()).second) {
      return Invalid("model.vocab", absl::StrCat("has the id ", formats::Shown(id), " twice"));
    }
    vocabulary->ids.emplace(token, id.get<int32_t>());
  }
  return absl::OkStatus();
}

absl::Status ReadNormalizer(const Json& normalizer, BertNormalizerOptions* options) {
  JsonFields fields(normalizer, absl::StrCat(kFile, ": normalizer"), Reason::kBaseInvalid);
  options->clean_text = fields.Bool("clean_text", true);
  options->handle_chinese_chars = fields.Bool("handle_chinese_chars", true);
  options->lowercase = fields.Bool("lowercase", true);
  options->strip_accents = fields.Bool("strip_accents", options->lowercase);
  return fields.status();
}

// The ids of one special token of a template.
absl::Status AddTemplateToken(const Json& processor, const std::string& name, std::vector<int32_t>* ids) {
  const auto tokens = processor.find("special_tokens");
  if (tokens != processor.end() && tokens->is_object() && tokens->contains(name)) {
    const Json& token = (*tokens)[name];
    if (token.is_object() && token.contains("ids") && token["ids"].is_array()) {
      for (const Json& id : token["ids"]) {
        if (!id.is_number_unsigned() || id.get<uint64_t>() > static_cast<uint64_t>(kMaxId)) break;
        ids->push_back(id.get<int32_t>());
      }
      return absl::OkStatus();
    }
  }
  return Invalid("post_processor", absl::StrCat("does not say the ids of \"", name, "\""));
}

absl::Status ReadTemplate(const Json& processor, WordPieceSpec* spec) {
  const auto single = processor.find("single");
  if (single == processor.end() || !single->is_array()) return Invalid("post_processor.single", "must be a list");
  int texts = 0;
  for (const Json& item : *single) {
    if (item.is_object() && item.contains("Sequence")) {
      ++texts;
    } else if (item.is_object() && item.contains("SpecialToken") && item["SpecialToken"].is_object() &&
               item["SpecialToken"].contains("id") && item["SpecialToken"]["id"].is_string()) {
      RETURN_IF_ERROR(
          AddTemplateToken(processor, item["SpecialToken"]["id"], texts == 0 ? &spec->prefix : &spec->suffix));
    } else {
      return Invalid("post_processor.single", "has an item that is neither a text nor a special token");
    }
  }
  return texts == 1 ? absl::OkStatus() : Invalid("post_processor.single", "must have the text once");
}

// BertProcessing: {"cls": ["[CLS]", 101], "sep": ["[SEP]", 102]}.
absl::Status ReadBertProcessing(const Json& processor, WordPieceSpec* spec) {
  for (const char* key : {"cls", "sep"}) {
    const auto it = processor.find(key);
    const bool good = it != processor.end() && it->is_array() && it->size() == 2 && (*it)[1].is_number_unsigned() &&
                      (*it)[1].get<uint64_t>() <= static_cast<uint64_t>(kMaxId);
    if (!good) return Invalid(absl::StrCat("post_processor.", key), "must be a token and its id");
    (std::string(key) == "cls" ? spec->prefix : spec->suffix).push_back((*it)[1].get<int32_t>());
  }
  return absl::OkStatus();
}

absl::Status ReadPostProcessor(const Json& json, WordPieceSpec* spec) {
  const auto it = json.find("post_processor");
  if (it == json.end() || it->is_null()) return absl::OkStatus();
  if (it->is_object() && it->contains("type") && (*it)["type"] == "BertProcessing")
    return ReadBertProcessing(*it, spec);
  RETURN_IF_ERROR(CheckType(json, "post_processor", "TemplateProcessing"));
  return ReadTemplate(*it, spec);
}

absl::Status ReadAddedTokens(const Json& json, std::vector<AddedToken>* tokens) {
  const auto it = json.find("added_tokens");
  if (it == json.end() || it->is_null()) return absl::OkStatus();
  if (!it->is_array()) return Invalid("added_tokens", "must be a list");
  for (const Json& item : *it) {
    if (!item.is_object()) return Invalid("added_tokens", "must be a list of objects");
    ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(item, absl::StrCat(kFile, ": added_tokens")));
    token.id =
        static_cast<int32_t>(item.contains("id") && item["id"].is_number_unsigned() ? item["id"].get<uint64_t>() : 0);
    if (!item.contains("id") || token.id < 0 || token.id > kMaxId)
      return Invalid("added_tokens", "has a token without an id");
    tokens->push_back(std::move(token));
  }
  return absl::OkStatus();
}

// The ids and token types of a pair's template: true where they are BERT's, one text's tokens around the first and its
// suffix again, of type 1, behind the second.
bool IsBertPair(const Json& processor, const WordPieceSpec& spec) {
  const auto pair = processor.find("pair");
  if (pair == processor.end() || !pair->is_array()) return false;
  std::vector<std::pair<int64_t, int64_t>> found, wanted;  // of id and type; the texts are -1 and -2
  for (const Json& item : *pair) {
    const bool text = item.is_object() && item.contains("Sequence");
    if (!text && !(item.is_object() && item.contains("SpecialToken"))) return false;
    const Json& part = item[text ? "Sequence" : "SpecialToken"];
    if (!part.is_object() || !part.contains("id") || !part["id"].is_string()) return false;
    const int64_t type =
        part.contains("type_id") && part["type_id"].is_number_unsigned() ? part["type_id"].get<int64_t>() : 0;
    std::vector<int32_t> ids;
    if (!text && !AddTemplateToken(processor, part["id"], &ids).ok()) return false;
    if (text) found.emplace_back(part["id"] == "A" ? -1 : -2, type);
    for (const int32_t id : ids) found.emplace_back(id, type);
  }
  for (const int32_t id : spec.prefix) wanted.emplace_back(id, 0);
  for (const int64_t type : {0, 1}) {
    wanted.emplace_back(-1 - type, type);
    for (const int32_t id : spec.suffix) wanted.emplace_back(id, type);
  }
  return found == wanted;
}

// A class that goes by the file may put other tokens around pairs; BERT's own classes never look there.
absl::Status CheckPairTemplate(const Json& json, const WordPieceSpec& spec) {
  const auto it = json.find("post_processor");
  const bool has_template = it != json.end() && it->is_object() && it->contains("pair");
  if (!has_template || IsBertPair(*it, spec)) return absl::OkStatus();
  return TenonError(
      Reason::kUnsupported,
      absl::StrCat(kFile, ": post_processor.pair is not BERT's `[CLS] A [SEP] B [SEP]`, which alone is supported"),
      "post_processor.pair");
}

}  // namespace

absl::StatusOr<WordPieceSpec> ParseTokenizerJson(const std::string& text, const std::string& config) {
  const auto json = formats::ParseJson(text);
  if (!json.ok()) return Invalid("the file", absl::StrCat("is broken: ", std::string(json.status().message())));
  if (!json->is_object()) return Invalid("the file", "must be an object");
  RETURN_IF_ERROR(CheckType(*json, "model", "WordPiece"));
  RETURN_IF_ERROR(CheckType(*json, "normalizer", "BertNormalizer"));
  RETURN_IF_ERROR(CheckType(*json, "pre_tokenizer", "BertPreTokenizer"));
  WordPieceSpec spec;
  RETURN_IF_ERROR(ReadModel((*json)["model"], &spec.vocabulary));
  RETURN_IF_ERROR(ReadNormalizer((*json)["normalizer"], &spec.normalizer));
  RETURN_IF_ERROR(ReadPostProcessor(*json, &spec));
  RETURN_IF_ERROR(ReadAddedTokens(*json, &spec.added_tokens));
  ASSIGN_OR_RETURN(const TokenizerConfig settings, ParseTokenizerConfig(config));
  settings.Apply(&spec.normalizer);
  spec.types = settings.types;
  if (settings.generic_class) RETURN_IF_ERROR(CheckPairTemplate(*json, spec));
  return spec;
}

}  // namespace tenon::engine
